/**
 * Compares resolved models with `docker-compose config` (1.29.2, Python) on the projects of `testdata/`.
 *
 * The old program prints another form of the same model. What is evened out, and why:
 *
 * 1. It knows no project name, computed resource names, implicit networks or implied dependencies: dropped from ours.
 * 2. It prints ports and volumes short or long by its own rules: both sides become one text form.
 * 3. It keeps command lines as written: split by our own splitter (which has its own test).
 * 4. Durations are printed in other units, `$` is doubled: both sides become nanoseconds and plain text.
 * 5. Merged lists without an order are sorted there: sorted on both sides.
 * 6. Defaults that only compose-go writes (secret targets, `required`, `Dockerfile`, bind options) are dropped from ours.
 * 7. A network without settings is null or empty.
 * 8. It leaves labels of `deploy` as a list: both sides become a mapping.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isRecord } from '@cambium/base';
import { parse } from 'yaml';
import { loadProject } from './load.ts';
import { portableModel } from './portable-model.ts';
import { printModel } from './print-model.ts';
import { resolvedModel } from './resolved-model.ts';
import { parseDevice, parsePort, parseVolume, splitWords } from './short-syntax.ts';
import type { Mapping } from './types.ts';

const testdata = fileURLToPath(new URL('../testdata/', import.meta.url));
const present = spawnSync('docker-compose', ['--version']).status === 0;
const environment: Record<string, string> = { PATH: process.env.PATH ?? '/usr/bin', HOME: '/home/me', LANG: 'C.UTF-8' };

function peer(directory: string, args: readonly string[] = []): Mapping {
  return parse(execFileSync('docker-compose', [...args, 'config'], { cwd: directory, env: environment, stdio: ['ignore', 'pipe', 'pipe'] }).toString(), {
    version: '1.1',
  }) as Mapping;
}

const SORTED = [
  'ports',
  'volumes',
  'expose',
  'cap_add',
  'cap_drop',
  'dns',
  'dns_search',
  'tmpfs',
  'devices',
  'extra_hosts',
  'profiles',
  'security_opt',
  'links',
  'external_links',
  'group_add',
];

function evenModel(model: Mapping, isOurs: boolean): Mapping {
  const result: Mapping = {};
  const services: Mapping = {};
  for (const [name, service] of Object.entries(model.services as Record<string, Mapping>)) services[name] = evenService(service, isOurs);
  result.services = services;
  for (const section of ['networks', 'volumes', 'configs', 'secrets']) {
    const entries: Mapping = {};
    for (const [name, value] of Object.entries((model[section] ?? {}) as Mapping)) {
      const { name: given, ...rest } = isRecord(value) ? value : {};
      // 1: the names; a name given in the file is kept on both sides.
      const computed = given === undefined || given === name || given === `${String(model.name)}_${name}`;
      if (name === 'default' && isOurs) continue;
      entries[name] = { ...rest, ...(computed ? {} : { name: given }) };
    }
    if (Object.keys(entries).length > 0) result[section] = entries;
  }
  return evenText(result) as Mapping;
}

function evenService(service: Mapping, isOurs: boolean): Mapping {
  const result: Mapping = { ...service };
  const list = (key: string, form: (item: unknown) => unknown): void => {
    if (result[key] !== undefined) result[key] = (Array.isArray(result[key]) ? result[key] : [result[key]]).flatMap((item: unknown) => form(item));
  };
  list('ports', portText);
  list('volumes', (item) => volumeText(isRecord(item) ? item : (parseVolume(String(item)) as unknown as Mapping)));
  list('devices', (item) =>
    JSON.stringify(isRecord(item) ? { source: item.source, target: item.target, permissions: item.permissions } : parseDevice(String(item))),
  );
  list('extra_hosts', (item) => String(item).replace('=', ':'));
  for (const key of ['dns', 'dns_search', 'tmpfs', 'expose']) list(key, String);
  for (const key of ['secrets', 'configs']) {
    list(key, (item) => {
      if (!isRecord(item)) return { source: item };
      const { target, ...rest } = item;
      return { ...rest, ...(target === undefined || target === `/run/secrets/${String(item.source)}` ? {} : { target }) };
    });
  }
  for (const key of ['command', 'entrypoint']) if (typeof result[key] === 'string') result[key] = splitWords(result[key] as string);
  for (const key of SORTED) if (Array.isArray(result[key])) result[key] = (result[key] as string[]).toSorted();
  if (isRecord(result.healthcheck)) {
    const check: Mapping = { ...result.healthcheck };
    if (typeof check.test === 'string') check.test = ['CMD-SHELL', check.test];
    for (const key of ['interval', 'timeout', 'start_period']) if (check[key] !== undefined) check[key] = nanoseconds(String(check[key]));
    result.healthcheck = check;
  }
  if (isRecord(result.depends_on)) {
    result.depends_on = Object.fromEntries(
      Object.entries(result.depends_on)
        .filter(([, condition]) => !(isOurs && isRecord(condition) && condition.restart !== undefined))
        .map(([name, condition]) => [name, { condition: (condition as Mapping).condition }]),
    );
    if (Object.keys(result.depends_on as Mapping).length === 0) delete result.depends_on;
  } else if (Array.isArray(result.depends_on)) {
    result.depends_on = Object.fromEntries(result.depends_on.map((name: unknown) => [String(name), { condition: 'service_started' }]));
  }
  if (isRecord(result.networks) && isOurs && Object.keys(result.networks).join() === 'default') delete result.networks;
  if (isRecord(result.networks)) result.networks = Object.fromEntries(Object.entries(result.networks).map(([key, value]) => [key, value ?? {}]));
  if (isRecord(result.build)) {
    const build: Mapping = { ...result.build };
    if (build.dockerfile === 'Dockerfile') delete build.dockerfile;
    result.build = build;
  }
  if (isRecord(result.deploy) && Array.isArray(result.deploy.labels)) {
    result.deploy = { ...result.deploy, labels: Object.fromEntries(result.deploy.labels.map((item: unknown) => String(item).split('='))) };
  }
  // A variable that is passed through and not set: absent here, null there.
  if (isRecord(result.environment))
    result.environment = Object.fromEntries(Object.entries(result.environment).map(([key, value]) => [key, value === null ? null : String(value)]));
  return result;
}

function portText(item: unknown): string[] {
  const ports = isRecord(item) ? [item] : (parsePort(String(item)) as unknown as Mapping[]);
  return ports.map(
    (port) =>
      `${String(port.host_ip ?? '')}:${String(port.published ?? '')}:${String(port.target)}/${String(port.protocol ?? 'tcp')}${port.mode === 'host' ? ' host' : ''}`,
  );
}

function volumeText(volume: Mapping): string {
  const nocopy = isRecord(volume.volume) && volume.volume.nocopy === true ? ' nocopy' : '';
  return `${String(volume.type)} ${String(volume.source ?? '')} ${String(volume.target)} ${volume.read_only === true ? 'ro' : 'rw'}${nocopy}`;
}

function nanoseconds(text: string): number {
  const units: Record<string, number> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, m: 6e10, h: 3.6e12 };
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/([0-9.]+)(ns|us|ms|s|m|h)/g)) total += Number(amount) * (units[unit as string] as number);
  return total;
}

function evenText(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('$$', '$');
  if (Array.isArray(value)) return value.map(evenText);
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, evenText(item)]));
}

for (const name of readdirSync(testdata)) {
  const directory = join(testdata, name);
  test(`docker-compose config gives the same model: ${name}`, { skip: present ? false : 'docker-compose is not installed' }, async () => {
    const project = await loadProject({ workingDirectory: directory, environment });
    const ours = evenModel(parse(printModel(await resolvedModel(project))) as Mapping, true);
    assert.deepEqual(ours, evenModel(peer(directory), false));
  });

  test(`docker-compose reads the portable model as it reads the project: ${name}`, { skip: present ? false : 'docker-compose is not installed' }, async () => {
    const root = mkdtempSync(join(tmpdir(), 'cambium-portable-'));
    try {
      // The same name, because the peer puts it into what it prints.
      const copy = join(root, name);
      cpSync(directory, copy, { recursive: true });
      const want = evenModel(peer(copy), false);
      const project = await loadProject({ workingDirectory: copy, environment });
      writeFileSync(join(copy, 'portable.yml'), printModel(portableModel(project)));
      const got = evenModel(peer(copy, ['-f', 'portable.yml']), false);
      // Builds are not shipped.
      for (const service of Object.values(want.services as Record<string, Mapping>)) delete service.build;
      assert.deepEqual(got, want);
    } finally {
      rmSync(root, { recursive: true });
    }
  });
}

test('what we print reads back as the same model, by us', async () => {
  for (const name of readdirSync(testdata)) {
    const directory = join(testdata, name);
    const first = await resolvedModel(await loadProject({ workingDirectory: directory, environment }));
    for (const format of ['yaml', 'json'] as const) {
      const text = printModel(first, { format });
      const again = await loadProject({ files: ['-'], stdin: text, projectDirectory: directory, workingDirectory: directory, environment });
      assert.equal(printModel(await resolvedModel(again), { format }), text, `${name} ${format}`);
    }
  }
});
