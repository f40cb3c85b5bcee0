import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import { hashServices, listModel, printModel } from './print-model.ts';
import type { Model } from './types.ts';

const model: Model = {
  'x-last': 1,
  volumes: { z: {}, b: {} },
  name: 'p',
  services: {
    web: {
      image: 'nginx',
      labels: { yes: 'no', port: '22:22', octal: '0644', date: '2001-01-01', dollar: '$X', n: 'null', float: '1e3' },
      profiles: ['d', 'a'],
    },
    api: { image: 'nginx', command: ['a b', '', ' x', '#y', '*z', '- q'] },
  },
};

test('keys are sorted and the order is fixed', () => {
  const text = printModel(model);
  assert.deepEqual(text.match(/^\S+(?=:)/gm), ['name', 'services', 'volumes', 'x-last']);
  assert.ok(text.indexOf('  api:') < text.indexOf('  web:'));
  assert.equal(printModel({ ...structuredClone(model), volumes: { b: {}, z: {} } }), text);
});

test('YAML 1.1 and 1.2 readers see the same text values', () => {
  const escaped = structuredClone(model) as unknown as { services: { web: { labels: { dollar: string } } } };
  escaped.services.web.labels.dollar = '$$X';
  for (const version of ['1.1', '1.2'] as const) assert.deepEqual(parse(printModel(model), { version }), escaped, version);
  assert.deepEqual(parse(printModel(model, { escapeDollars: false })), model);
  assert.deepEqual(JSON.parse(printModel(model, { format: 'json', escapeDollars: false })), model);
});

test('lists and hashes', () => {
  assert.deepEqual(listModel(model, 'services'), ['api', 'web']);
  assert.deepEqual(listModel(model, 'volumes'), ['b', 'z']);
  assert.deepEqual(listModel(model, 'networks'), []);
  assert.deepEqual(listModel(model, 'images'), ['nginx']);
  assert.deepEqual(listModel(model, 'profiles'), ['a', 'd']);
  const [api, web] = hashServices(model);
  assert.equal(api?.[0], 'api');
  assert.match(web?.[1] ?? '', /^[0-9a-f]{64}$/);
  assert.notEqual(api?.[1], web?.[1]);
});
