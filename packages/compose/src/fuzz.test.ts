/** Broken projects end quickly, and only with errors that we know. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { loadProject } from './load.ts';
import { portableModel } from './portable-model.ts';
import { printModel } from './print-model.ts';
import { collectProjectFiles } from './project-files.ts';
import { resolvedModel } from './resolved-model.ts';

const testdata = fileURLToPath(new URL('../testdata/', import.meta.url));
let directory = '';
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'cambium-compose-fuzz-'));
});
after(() => rmSync(directory, { recursive: true }));

/** Runs all that a packer runs; returns the code of the error, or nothing. */
async function survive(text: string, interpolate = true): Promise<string> {
  try {
    const project = await loadProject({ files: ['-'], stdin: text, workingDirectory: directory, environment: { TAG: '1' }, interpolate, projectName: 'p' });
    printModel(portableModel(project, { pin: (use) => `${use.reference}@x` }));
    await collectProjectFiles(project, { sourceFiles: true });
    printModel(await resolvedModel(project));
    return '';
  } catch (error) {
    assert.ok(isKnownError(error), `${error instanceof Error ? error.stack : String(error)}\n${text}`);
    return error.code;
  }
}

test('mutated real files', async () => {
  const files = readdirSync(testdata).map((name) => readFileSync(join(testdata, name, 'docker-compose.yml'), 'utf8'));
  let worked = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...files),
      fc.array(
        fc.record({
          at: fc.double({ min: 0, max: 1, noNaN: true }),
          remove: fc.nat(12),
          insert: fc.constantFrom(
            '',
            ' ',
            '\n',
            ':',
            '- ',
            '[',
            ']',
            '{',
            '}',
            '*x ',
            '&x ',
            '<<: ',
            '!reset ',
            '"',
            "'",
            '${',
            '}',
            '$',
            'null',
            '~',
            '0',
            '#',
            '\t',
          ),
        }),
        {
          maxLength: 4,
        },
      ),
      fc.boolean(),
      async (file, edits, interpolate) => {
        let text = file;
        for (const { at, remove, insert } of edits) {
          const offset = Math.floor(at * text.length);
          text = text.slice(0, offset) + insert + text.slice(offset + remove);
        }
        if ((await survive(text, interpolate)) === '') worked++;
      },
    ),
    { numRuns: 600 },
  );
  // Otherwise the test would only have looked at the YAML parser.
  assert.ok(worked > 20, `only ${worked} mutants loaded`);
});

test('any shape of value under any key', async () => {
  const keys = [
    ...[
      'image',
      'build',
      'command',
      'ports',
      'volumes',
      'environment',
      'env_file',
      'label_file',
      'labels',
      'depends_on',
      'networks',
      'extends',
      'healthcheck',
      'deploy',
      'logging',
      'secrets',
      'configs',
    ],
    ...[
      'extra_hosts',
      'ulimits',
      'devices',
      'profiles',
      'dns',
      'tmpfs',
      'links',
      'volumes_from',
      'network_mode',
      'gpus',
      'pre_start',
      'models',
      'provider',
      'platform',
      'develop',
      'scale',
      'x-k',
      'constructor',
    ],
  ];
  const leaf = fc.oneof(
    fc.constantFrom<unknown>(null, true, 0, -1, 1.5, '', 'a', 'b', 'a=b', './x', '/x:/y', '80:80', '${TAG}', 'service:b', 'toString', 'true'),
    fc.string({ maxLength: 5 }),
  );
  const inner = [
    'context',
    'test',
    'source',
    'target',
    'type',
    'path',
    'required',
    'service',
    'file',
    'driver',
    'options',
    'labels',
    'condition',
    'external',
    'name',
    'b',
    'driver_opts',
    'o',
    'device',
    'args',
    'aliases',
  ];
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small', maxDepth: 3 },
      leaf,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...inner), tie('value'), { maxKeys: 3, noNullPrototype: true }),
    ),
  }));
  const odd = fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 2, noNullPrototype: true });
  const service = odd.map((extra) => ({ image: 'i', ...extra }));
  const seldom = (arbitrary: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
    fc.oneof({ weight: 9, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
  const model = fc.record(
    {
      services: fc.oneof({ weight: 19, arbitrary: fc.record({ a: service, b: fc.constant({ image: 'i' }) }) }, { weight: 1, arbitrary: value }),
      networks: seldom(value),
      volumes: seldom(value),
      secrets: seldom(value),
      configs: seldom(value),
      include: seldom(value),
    },
    { noNullPrototype: true },
  );
  const codes = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(fc.array(model, { minLength: 1, maxLength: 2 }), fc.boolean(), async (documents, interpolate) => {
      const outcome = await survive(documents.map((document) => stringify(document, { aliasDuplicateObjects: false })).join('---\n'), interpolate);
      codes.set(outcome, (codes.get(outcome) ?? 0) + 1);
    }),
    { numRuns: 1500 },
  );
  // Otherwise the checks behind the first one were never reached.
  assert.ok((codes.get('') ?? 0) > 0 && codes.size > 5, JSON.stringify([...codes]));
});

test('a model that loads loads again from what is printed', async () => {
  const files = readdirSync(testdata).map((name) => readFileSync(join(testdata, name, 'docker-compose.yml'), 'utf8'));
  for (const text of files) {
    // Files that extend others are not complete by themselves.
    if (text.includes('extends:')) continue;
    const first = await loadProject({
      files: ['-'],
      stdin: text,
      workingDirectory: directory,
      environment: { TAG: '1', PORT: '1', BOOL: 'true' },
      projectName: 'p',
    });
    writeFileSync(join(directory, 'portable.yml'), printModel(portableModel(first)));
    const again = await loadProject({ files: ['portable.yml'], workingDirectory: directory, environment: {}, projectName: 'p' });
    assert.equal(printModel(portableModel(again)), printModel(portableModel(first)));
  }
});
