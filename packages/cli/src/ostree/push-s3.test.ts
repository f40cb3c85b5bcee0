/** `cambium ostree push s3://…`: where keys, region and endpoint come from, and what is said when they are missing. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { defer, needsPeer, run, scratch, startS3Server } from '@cambium/testkit';
import type { Environment } from '../environment.ts';
import { readS3Settings, type S3Flags, type S3Settings } from './s3-settings.ts';

const LAUNCHER = fileURLToPath(new URL('../../bin/cambium.js', import.meta.url));
const NO_FLAGS: S3Flags = { endpointUrl: undefined, region: undefined, profile: undefined, addressingStyle: undefined };
const CREDENTIALS = `# comment
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key=default secret
[other]
aws_access_key_id = AKIAOTHER
aws_secret_access_key = other=secret
aws_session_token = token
`;
const CONFIG = `[default]
region = eu-central-1
[profile other]
region=eu-west-1
endpoint_url = https://store.example.org
s3 =
  addressing_style = virtual
  max_concurrent_requests = 3
[ profile process ]
credential_process = /bin/true
`;

function home(t: Parameters<typeof scratch>[0]): string {
  const directory = scratch(t);
  mkdirSync(join(directory, '.aws'));
  writeFileSync(join(directory, '.aws/credentials'), CREDENTIALS);
  writeFileSync(join(directory, '.aws/config'), CONFIG);
  return directory;
}

function environment(at: string, variables: Record<string, string> = {}): Environment {
  return { variables, workingDirectory: at, home: at, uid: 0, stdoutIsTerminal: false, stderrIsTerminal: false };
}

test('flags, environment and profiles, in the order of the tools of Amazon', (t) => {
  const at = home(t);
  const keys = { AWS_ACCESS_KEY_ID: 'AKIAENV', AWS_SECRET_ACCESS_KEY: 'env' };
  const read = (variables: Record<string, string>, flags: Partial<S3Flags> = {}): S3Settings =>
    readS3Settings({ ...NO_FLAGS, ...flags }, environment(at, variables));
  const idAndRegion = (settings: S3Settings): string => `${settings.credentials.accessKeyId} ${settings.region} ${settings.endpoint?.host ?? '-'}`;
  const table: [variables: Record<string, string>, flags: Partial<S3Flags>, expected: string][] = [
    [{}, {}, 'AKIADEFAULT eu-central-1 -'],
    [keys, {}, 'AKIAENV eu-central-1 -'],
    [keys, { profile: 'other' }, 'AKIAOTHER eu-west-1 store.example.org'],
    [{ ...keys, AWS_PROFILE: 'other' }, {}, 'AKIAENV eu-west-1 store.example.org'],
    [{ AWS_PROFILE: 'other', AWS_DEFAULT_REGION: 'here', AWS_ENDPOINT_URL: 'http://all' }, {}, 'AKIAOTHER here all'],
    [{ AWS_REGION: 'there', AWS_DEFAULT_REGION: 'here', AWS_ENDPOINT_URL: 'http://all', AWS_ENDPOINT_URL_S3: 'http://s3' }, {}, 'AKIADEFAULT there s3'],
    [{ AWS_REGION: 'there', AWS_ENDPOINT_URL: 'http://all' }, { region: 'flag', endpointUrl: 'http://flag:1' }, 'AKIADEFAULT flag flag:1'],
    [{ ...keys, AWS_SHARED_CREDENTIALS_FILE: join(at, 'none'), AWS_CONFIG_FILE: join(at, 'none') }, {}, 'AKIAENV us-east-1 -'],
    [{ AWS_CONFIG_FILE: join(at, 'none') }, {}, 'AKIADEFAULT us-east-1 -'],
  ];
  for (const [variables, flags, expected] of table) assert.equal(idAndRegion(read(variables, flags)), expected);
  const other = read({}, { profile: 'other' });
  assert.deepEqual(other.credentials, { accessKeyId: 'AKIAOTHER', secretAccessKey: 'other=secret', sessionToken: 'token' });
  assert.equal(other.addressing, 'virtual');
  assert.equal(read({}, { profile: 'other', addressingStyle: 'auto' }).addressing, undefined);
  assert.throws(() => read({}, { profile: 'none' }), { code: 'CLI_CREDENTIALS_MISSING' });
  assert.throws(() => read({}, { profile: 'process' }), /credential_process.*export-credentials --profile process/);
  assert.throws(() => read({ AWS_SHARED_CREDENTIALS_FILE: join(at, 'none') }), { code: 'CLI_CREDENTIALS_MISSING' });
  assert.throws(() => read({}, { endpointUrl: 'store' }), { code: 'CLI_OPTION_VALUE_INVALID' });
  assert.throws(() => read({ AWS_CONFIG_FILE: join(at, '.aws') }), { code: 'EISDIR' });
});

test('push into a bucket, and pull from it', { skip: needsPeer('ostree') }, async (t) => {
  const directory = home(t);
  const server = await startS3Server({ bucket: 'trees', accessKeyId: 'AKIADEFAULT', secretAccessKey: 'default secret', region: 'eu-central-1' });
  defer(t, () => server.stop());
  mkdirSync(join(directory, 'tree'));
  writeFileSync(join(directory, 'tree/file'), 'content\n');
  const peer = async (...args: string[]): Promise<string> => (await run('ostree', args, { cwd: directory })).stdout.trim();
  await peer('init', '--repo=repo', '--mode=archive');
  const commit = await peer('commit', '--repo=repo', '-b', 'main', 'tree');
  const env = { PATH: process.env.PATH ?? '', HOME: directory, AWS_ENDPOINT_URL: server.url };
  const push = (...args: string[]): ReturnType<typeof run> =>
    run(process.execPath, [LAUNCHER, 'ostree', 'push', '--repo=repo', ...args], { cwd: directory, env, accept: 'any' });
  const sent = await push('--json', 's3://trees/a/b');
  assert.equal(sent.status, 0, sent.stderr);
  assert.deepEqual([JSON.parse(sent.stdout).target, JSON.parse(sent.stdout).refs], ['s3://trees/a/b', [{ ref: 'main', to: commit }]]);
  assert.match((await push('s3://trees/a/b/')).stdout, /^s3:\/\/trees\/a\/b: sent 0 objects, 0 B; 4 are there already\n$/);
  await peer('init', '--repo=client');
  await peer('remote', 'add', '--repo=client', '--no-gpg-verify', 'there', `${server.url}/trees/a/b`);
  await peer('pull', '--repo=client', 'there', 'main');
  assert.equal(await peer('rev-parse', '--repo=client', 'there:main'), commit);
  const table: [args: string[], says: RegExp][] = [
    [['--region=us-east-1', 's3://trees'], /^error: Cannot read "config" in s3:\/\/trees: the bucket is in the region eu-central-1, not us-east-1\n$/],
    [['s3://nowhere'], /^error: Cannot read "config" in s3:\/\/nowhere: there is no such bucket at 127\.0\.0\.1/],
    [['--profile=other', '--addressing-style=path', `--endpoint-url=${server.url}`, 's3://trees'], /InvalidAccessKeyId/],
    [['--profile=none', 's3://trees'], /^error: There is no profile "none"/],
    [['s3://'], /^error: Cannot use "" as the name of a bucket\n$/],
    [['--profile=other', 'public'], /error: --profile is for destinations that begin with s3:\/\/\n$/],
  ];
  for (const [args, says] of table) {
    const { status, stderr } = await push(...args);
    assert.equal(status, 1);
    assert.match(stderr, says);
  }
});
