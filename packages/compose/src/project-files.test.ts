import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { loadProject } from './load.ts';
import { type CollectedFiles, type CollectOptions, collectProjectFiles, fileIdentity } from './project-files.ts';

let root = '';
let app = '';
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'cambium-files-')));
  app = join(root, 'app');
  mkdirSync(app);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(app, path)), { recursive: true });
    writeFileSync(join(app, path), text);
  }
}
async function collect(service: string, options: CollectOptions = {}, top = ''): Promise<CollectedFiles> {
  write({ 'compose.yaml': `services:\n  a:\n    image: i\n    ${service}\n${top}\n` });
  return collectProjectFiles(await loadProject({ workingDirectory: app, environment: { HOME: '/home/me', PWD: app } }), options);
}
const paths = (collected: CollectedFiles): string[] =>
  collected.files.map((file) => `${file.path}${file.kind === 'directory' ? '/' : file.kind === 'symlink' ? `@${file.target ?? ''}` : ''}`);

test('files of every kind travel under their own paths', async () => {
  write({ 'a.env': 'A=1', 'sub/l.env': 'L=1', 'conf/nginx.conf': 'x', 'conf/d/y': 'yy', 'c.txt': 'c' });
  chmodSync(join(app, 'conf/nginx.conf'), 0o640);
  const collected = await collect(
    `env_file: [a.env, {path: no.env, required: false}]
    label_file: sub/l.env
    volumes: ["./conf:/c", "$PWD/c.txt:/c.txt"]
    configs: [c]`,
    {},
    'configs: {c: {file: ./c.txt}}',
  );
  assert.deepEqual(paths(collected), ['a.env', 'c.txt', 'conf/', 'conf/d/', 'conf/d/y', 'conf/nginx.conf', 'sub/', 'sub/l.env']);
  const file = collected.files.find((entry) => entry.path === 'conf/nginx.conf');
  assert.deepEqual(file, {
    path: 'conf/nginx.conf',
    kind: 'file',
    source: join(app, 'conf/nginx.conf'),
    mode: 0o640,
    sizeBytes: 1,
    identity: fileIdentity(lstatSync(join(app, 'conf/nginx.conf'))),
    key: 'services.a.volumes[0]',
  });
  assert.deepEqual(collected.leftOut, [{ path: 'no.env', reason: 'missing' }]);
});

test('host paths are listed and not packed', async () => {
  const collected = await collect('volumes: ["/var/run/docker.sock:/s", "/etc/localtime:/l:ro", "~/x:/x"]');
  assert.deepEqual(paths(collected), []);
  assert.deepEqual(collected.hostPaths, [
    { path: '/etc/localtime', key: 'services.a.volumes[1]' },
    { path: '/home/me/x', key: 'services.a.volumes[2]' },
    { path: '/var/run/docker.sock', key: 'services.a.volumes[0]' },
  ]);
});

test('paths outside are errors that name path and key', async () => {
  const rows: [string, string, string][] = [
    ['env_file: ../x.env', '', '../x.env" of services.a.env_file[0]'],
    ['env_file: /etc/passwd', '', '/etc/passwd" of services.a.env_file[0]'],
    ['volumes: ["../y:/y"]', '', '../y" of services.a.volumes[0]'],
    ['volumes: ["./a/../../y:/y"]', '', './a/../../y" of services.a.volumes[0]'],
    ['command: x', 'configs: {c: {file: ../c}}', '../c" of configs.c.file'],
    ['command: x', 'secrets: {c: {file: ../c}}', '../c" of secrets.c.file'],
  ];
  for (const [service, top, text] of rows) {
    await assert.rejects(
      collect(service, { includeSecrets: true }, top),
      (error: Error & { code?: string }) =>
        error.code === 'COMPOSE_PATH_OUTSIDE' && error.message.includes(`"${text}`) && /compose\.yaml:\d/.test(error.message),
      service + top,
    );
  }
  // A directory beside that only begins with the same name is outside too.
  await assert.rejects(collect('volumes: ["../app2:/y"]'), { code: 'COMPOSE_PATH_OUTSIDE' });
});

test('missing files: required, optional, made by the engine', async () => {
  await assert.rejects(collect('env_file: none.env'), { code: 'COMPOSE_FILE_MISSING', message: /"none\.env" of services\.a\.env_file\[0\]: no such file/ });
  await assert.rejects(collect('volumes: [{type: bind, source: ./none, target: /x}]'), { code: 'COMPOSE_FILE_MISSING' });
  await assert.rejects(collect('command: x', {}, 'configs: {c: {file: ./none}}'), { code: 'COMPOSE_FILE_MISSING', message: /configs\.c\.file/ });
  const collected = await collect('volumes: ["./data/db:/var/lib/db"]');
  assert.deepEqual(paths(collected), ['data/', 'data/db/']);
  assert.equal(collected.files[1]?.source, '');
  assert.deepEqual(
    collected.warnings.map((warning) => warning.code),
    ['FILE_MISSING'],
  );
});

test('secrets are left out with a warning unless asked for, also inside a mounted directory', async () => {
  write({ 'conf/x': 'x', 'conf/token': 's' });
  const top = 'secrets: {s: {file: ./conf/token}}';
  const without = await collect('volumes: ["./conf:/c"]', {}, top);
  assert.deepEqual(paths(without), ['conf/', 'conf/x']);
  assert.deepEqual(without.leftOut, [{ path: 'conf/token', reason: 'secret' }]);
  assert.deepEqual(
    without.warnings.map((warning) => warning.code),
    ['SECRET_LEFT_OUT'],
  );
  const all = await collect('volumes: ["./conf:/c"]', { includeSecrets: true }, top);
  assert.deepEqual(paths(all), ['conf/', 'conf/token', 'conf/x']);
  assert.deepEqual(all.warnings, []);
});

test('secrets are left out by whatever name the project reaches them', async () => {
  write({ 's/token': 's', 's/other': 's', 'conf/real': 's', 'conf/x': 'x' });
  symlinkSync('../s/token', join(app, 'conf/link'));
  symlinkSync('conf/real', join(app, 'alias'));
  const service = 'volumes: ["./conf:/c", "./s/other:/o"]';
  const top = 'secrets: {a: {file: ./s/token}, b: {file: ./s/other}, c: {file: ./alias}}';
  assert.deepEqual(paths(await collect(service, {}, top)), ['conf/', 'conf/link@../s/token', 'conf/x', 's/']);
  const all = paths(await collect(service, { includeSecrets: true }, top));
  for (const path of ['s/token', 's/other', 'conf/real']) assert.ok(all.includes(path), path);
});

test('compose files that tools prefer to the packed one stay behind, where the project directory is mounted', async () => {
  write({ 'compose.override.yaml': 'services: {}', 'docker-compose.override.yml': 'services: {}', 'sub/compose.yaml': 'other', 'x.yml': 'x' });
  const collected = await collect('volumes: [".:/code"]');
  assert.deepEqual(paths(collected), ['sub/', 'sub/compose.yaml', 'x.yml']);
  assert.deepEqual(collected.leftOut, [
    { path: 'compose.override.yaml', reason: 'replaced' },
    { path: 'compose.yaml', reason: 'replaced' },
    { path: 'docker-compose.override.yml', reason: 'replaced' },
  ]);
});

test('build contexts are empty directories beside a compose file that ships as written', async () => {
  write({ 'images/web/Dockerfile': 'FROM x' });
  assert.deepEqual(paths(await collect('build: ./images/web', { sourceFiles: true })), ['images/', 'images/web/']);
  assert.deepEqual(paths(await collect('build: ./images/web')), []);
  for (const context of ['.', '../beside', 'https://example.com/x.git']) assert.deepEqual(paths(await collect(`build: ${context}`, { sourceFiles: true })), []);
});

test('links inside are kept with what they lead to; links outside are errors', async () => {
  write({ 'real/x': 'x', 'other/y': 'y', 'conf/a': 'a' });
  symlinkSync('../other', join(app, 'conf/dir'));
  symlinkSync('a', join(app, 'conf/same'));
  symlinkSync('nowhere', join(app, 'conf/dangling'));
  symlinkSync('real', join(app, 'entry'));
  assert.deepEqual(paths(await collect('volumes: ["./conf:/c", "./entry/x:/x"]')), [
    'conf/',
    'conf/a',
    'conf/dangling@nowhere',
    'conf/dir@../other',
    'conf/same@a',
    'entry@real',
    'other/',
    'other/y',
    'real/',
    'real/x',
  ]);
  for (const target of ['/etc/passwd', '../../outside', app]) {
    rmSync(join(app, 'conf'), { recursive: true });
    mkdirSync(join(app, 'conf'));
    symlinkSync(target, join(app, 'conf/evil'));
    await assert.rejects(collect('volumes: ["./conf:/c"]'), { code: 'COMPOSE_PATH_OUTSIDE', message: /link "conf\/evil".*services\.a\.volumes\[0\]/ }, target);
  }
  symlinkSync('loop2', join(app, 'loop1'));
  symlinkSync('loop1', join(app, 'loop2'));
  await assert.rejects(collect('env_file: loop1'), { code: 'COMPOSE_PATH_OUTSIDE', message: /too many links/ });
});

test('.composeappignores is honoured and not packed itself', async () => {
  write({
    '.composeappignores': '# no\n*.log\n**/tmp\nkeepnot\n!keepnot/this\n',
    'x.log': '',
    'd/y.log': '',
    'd/tmp/z': '',
    'keepnot/this': '',
    'keepnot/that': '',
    'app.js': '',
  });
  const collected = await collect('volumes: [".:/app"]');
  assert.deepEqual(paths(collected), ['app.js', 'd/', 'd/y.log', 'keepnot/', 'keepnot/this']);
  assert.ok(collected.leftOut.some((entry) => entry.path === 'x.log' && entry.reason === 'ignored'));
  assert.deepEqual(
    paths(await collect('volumes: [".:/app"]', { ignoreFile: '' })).filter((path) => path.includes('log')),
    ['d/y.log', 'x.log'],
  );
  write({ '.composeappignores': 'data\na.env\n', 'data/big': '', 'a.env': '' });
  const mounted = await collect('volumes: ["./data:/data"]\n    env_file: a.env');
  // The mount point stays, its content does not; what the app cannot start without is warned about.
  assert.deepEqual(paths(mounted), ['data/']);
  assert.deepEqual(
    mounted.warnings.map((warning) => warning.message),
    ['"a.env", needed by services.a.env_file[0], is left out by .composeappignores'],
  );
  write({ '.composeappignores': '[' });
  await assert.rejects(collect('command: x'), { code: 'COMPOSE_IGNORE_FILE_INVALID' });
});

test('sources of the model travel when asked for', async () => {
  write({
    '.env': 'X=1',
    'inc/compose.yaml': 'services: {b: {extends: {service: c, file: base.yml}}}',
    'inc/base.yml': 'services: {c: {image: i}}',
    'inc/.env': '',
  });
  assert.deepEqual(paths(await collect('command: x', { sourceFiles: true }, 'include: [inc/compose.yaml]')), [
    '.env',
    'inc/',
    'inc/.env',
    'inc/base.yml',
    'inc/compose.yaml',
  ]);
  assert.deepEqual(paths(await collect('command: x', {}, 'include: [inc/compose.yaml]')), []);
});

test('special files are left out, names that are not UTF-8 refused', async () => {
  mkdirSync(join(app, 'd'));
  execFileSync('mkfifo', [join(app, 'd/pipe')]);
  const collected = await collect('volumes: ["./d:/d"]');
  assert.deepEqual(paths(collected), ['d/']);
  assert.deepEqual(collected.leftOut, [{ path: 'd/pipe', reason: 'special' }]);
  writeFileSync(Buffer.concat([Buffer.from(join(app, 'd/')), Buffer.from([0xff])]), '');
  await assert.rejects(collect('volumes: ["./d:/d"]'), { code: 'COMPOSE_FILE_INVALID', message: /not UTF-8/ });
});
