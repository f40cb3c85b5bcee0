import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { type CleanUp, needsPeer, run, scratch } from '@cambium/testkit';
import { type AuthFilesOptions, createAuthFiles } from './auth-files.ts';
import type { Credentials } from './credentials.ts';
import type { RegistryEvent } from './events.ts';

const basic = (user: string, password: string): { auth: string } => ({ auth: Buffer.from(`${user}:${password}`).toString('base64') });

function put(path: string, content: unknown): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

/** A helper that knows `helped.example` and a token for `token.example`. */
function putHelper(directory: string, name: string): void {
  const path = put(
    join(directory, `docker-credential-${name}`),
    `#!/bin/sh
read -r server
[ "$1" = get ] || exit 9
case "$server" in
  helped.example) printf '{"ServerURL":"%s","Username":"h","Secret":"helper secret"}' "$server" ;;
  token.example) printf '{"ServerURL":"%s","Username":"<token>","Secret":"refresh me"}' "$server" ;;
  https://index.docker.io/v1/) printf '{"Username":"hub","Secret":"hub secret"}' ;;
  broken.example) printf 'secret gibberish' ;;
  failing.example) printf 'secret gibberish'; exit 3 ;;
  *) echo 'credentials not found in native keychain'; exit 1 ;;
esac
`,
  );
  chmodSync(path, 0o755);
}

async function ask(options: AuthFilesOptions, registry: string, name = 'ns/app'): Promise<Omit<Credentials, 'source'> | undefined> {
  const found = await createAuthFiles(options)(registry, name);
  if (found === undefined) return undefined;
  const { source: _, ...rest } = found;
  return rest;
}

test('keys of a file, the most specific first, in old and new spellings', async (t) => {
  const authFile = put(join(scratch(t), 'auth.json'), {
    auths: {
      'r.example': basic('host', 'p1'),
      'r.example/ns': basic('namespace', 'p:2'),
      'r.example/ns/app': basic('repository', 'p3'),
      'https://old.example/v2/': basic('old', 'p4'),
      'https://index.docker.io/v1/': basic('hub', 'p5'),
      'identity.example': { auth: Buffer.from('someone:').toString('base64'), identitytoken: 'it' },
      'bearer.example': { registrytoken: 'rt' },
      'fields.example': { username: 'u', password: 'p6' },
      'empty.example': {},
      'padded.example': { auth: Buffer.from('u:p7\0\0').toString('base64') },
    },
  });
  const table: [registry: string, name: string, user: string | undefined, password: string | undefined][] = [
    ['r.example', 'ns/app', 'repository', 'p3'],
    ['r.example', 'ns/other', 'namespace', 'p:2'],
    ['r.example', 'ns/app/deeper', 'repository', 'p3'],
    ['r.example', 'nsx/app', 'host', 'p1'],
    ['old.example', 'x', 'old', 'p4'],
    ['docker.io', 'library/nginx', 'hub', 'p5'],
    ['fields.example', 'x', 'u', 'p6'],
    ['padded.example', 'x', 'u', 'p7'],
    ['r.example:5000', 'ns/app', undefined, undefined],
    ['empty.example', 'x', undefined, undefined],
  ];
  for (const [registry, name, username, password] of table) {
    assert.deepEqual(await ask({ authFile }, registry, name), username === undefined ? undefined : { username, password }, `${registry}/${name}`);
  }
  assert.deepEqual(await ask({ authFile }, 'identity.example'), { username: 'someone', password: '', identityToken: 'it' });
  assert.deepEqual(await ask({ authFile }, 'bearer.example'), { registryToken: 'rt' });
});

test('files are asked in order, and the trace says where was looked', async (t) => {
  const home = scratch(t);
  const runtime = join(home, 'run');
  const entry = (user: string, registry: string): object => ({ auths: { [registry]: basic(user, 'pw') } });
  const paths = {
    runtime: put(join(runtime, 'containers/auth.json'), entry('runtime', 'a.example')),
    config: put(join(home, '.config/containers/auth.json'), { auths: { 'a.example': basic('config', 'pw'), 'b.example': basic('config', 'pw') } }),
    docker: put(join(home, '.docker/config.json'), entry('docker', 'c.example')),
    legacy: put(join(home, '.dockercfg'), { 'https://d.example': basic('legacy', 'pw') }),
  };
  const events: RegistryEvent[] = [];
  const options: AuthFilesOptions = { home, environment: { XDG_RUNTIME_DIR: runtime }, on: (event) => events.push(event) };
  for (const [registry, username] of [
    ['a.example', 'runtime'],
    ['b.example', 'config'],
    ['c.example', 'docker'],
    ['d.example', 'legacy'],
  ] as const) {
    assert.deepEqual(await ask(options, registry), { username, password: 'pw' });
  }
  assert.deepEqual(
    events.slice(-4).map((event) => event.type === 'auth-source' && [event.source, event.outcome]),
    [
      [paths.runtime, 'no-match'],
      [paths.config, 'no-match'],
      [paths.docker, 'no-match'],
      [paths.legacy, 'found'],
    ],
  );
  // A file that is named is the only one.
  const named = put(join(home, 'named.json'), entry('named', 'e.example'));
  assert.deepEqual(await ask({ home, environment: { REGISTRY_AUTH_FILE: named } }, 'e.example'), { username: 'named', password: 'pw' });
  assert.equal(await ask({ home, environment: { REGISTRY_AUTH_FILE: named } }, 'c.example'), undefined);
  const other = put(join(home, 'other/config.json'), entry('other', 'c.example'));
  assert.deepEqual(await ask({ home, environment: { DOCKER_CONFIG: dirname(other) } }, 'c.example'), { username: 'other', password: 'pw' });
  assert.equal(await ask({ home: join(home, 'nobody'), environment: {} }, 'a.example'), undefined);
  assert.equal(await ask({}, 'a.example'), undefined);
});

test('bad files are named, and nothing of them is quoted', async (t) => {
  const directory = scratch(t);
  await assert.rejects(ask({ authFile: join(directory, 'absent') }, 'r.example'), { code: 'OCI_AUTH_FILE_MISSING' });
  await assert.rejects(ask({ authFile: directory }, 'r.example'), { code: 'OCI_AUTH_FILE_INVALID' });
  const bad = [
    '{"auths":{"r.example":{"auth":"c2VjcmV0OnBhc3M=',
    '[]',
    '{"auths":[]}',
    '{"credHelpers":[]}',
    { auths: { 'r.example': { auth: 'c2VjcmV0' } } },
    'secret',
  ];
  for (const content of bad) {
    const authFile = put(join(directory, 'bad.json'), content);
    await assert.rejects(ask({ authFile }, 'r.example'), (error: Error & { code: string }) => {
      assert.equal(error.code, 'OCI_AUTH_FILE_INVALID');
      assert.ok(error.message.includes(authFile));
      assert.doesNotMatch(`${error.message} ${String(error.cause)}`, /secret|c2VjcmV0/);
      return true;
    });
  }
  assert.equal(await ask({ authFile: put(join(directory, 'empty.json'), '') }, 'r.example'), undefined);
});

test('helpers for one registry and for all', async (t) => {
  const directory = scratch(t);
  putHelper(directory, 'test');
  const environment = { PATH: `${directory}:/usr/bin:/bin` };
  const withStore = put(join(directory, 'store.json'), { credsStore: 'test', auths: { 'helped.example': {}, 'own.example': basic('own', 'pw') } });
  assert.deepEqual(await ask({ authFile: withStore, environment }, 'helped.example'), { username: 'h', password: 'helper secret' });
  assert.deepEqual(await ask({ authFile: withStore, environment }, 'token.example'), { identityToken: 'refresh me' });
  assert.deepEqual(await ask({ authFile: withStore, environment }, 'docker.io'), { username: 'hub', password: 'hub secret' });
  assert.deepEqual(await ask({ authFile: withStore, environment }, 'own.example'), { username: 'own', password: 'pw' });
  assert.equal(await ask({ authFile: withStore, environment }, 'unknown.example'), undefined);

  const perHost = put(join(directory, 'host.json'), {
    credHelpers: { 'helped.example': 'test', 'gone.example': 'not-installed', 'evil.example': '../../bin/sh', 'off.example': '' },
    credsStore: 'test',
    auths: { 'helped.example': basic('ignored', 'pw') },
  });
  assert.deepEqual(await ask({ authFile: perHost, environment }, 'helped.example'), { username: 'h', password: 'helper secret' });
  assert.equal(await ask({ authFile: perHost, environment }, 'off.example'), undefined);
  for (const registry of ['gone.example', 'evil.example', 'broken.example', 'failing.example']) {
    await assert.rejects(ask({ authFile: perHost, environment }, registry), (error: Error & { code: string }) => {
      assert.equal(error.code, 'OCI_CREDENTIAL_HELPER_FAILED');
      assert.doesNotMatch(`${error.message} ${String(error.cause)}`, /gibberish/);
      return true;
    });
  }
});

test('a file that skopeo wrote', { skip: needsPeer('skopeo', 'docker-registry', 'htpasswd') }, async (t) => {
  const { startRegistry } = await import('@cambium/testkit');
  const registry = await startRegistry({ htpasswd: { alice: 'a secret' } });
  t.after(() => registry.stop());
  const authFile = join(scratch(t as CleanUp), 'auth.json');
  await run('skopeo', ['login', '--tls-verify=false', '--authfile', authFile, '-u', 'alice', '--password-stdin', registry.host], { input: 'a secret' });
  assert.deepEqual(await ask({ authFile }, registry.host), { username: 'alice', password: 'a secret' });
});
