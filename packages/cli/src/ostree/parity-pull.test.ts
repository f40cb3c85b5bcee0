/** Pulls over HTTP, and why they are refused, beside libostree: what its own test suite looks at. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Checksum } from '@cambium/base';
import { Repo } from '@cambium/ostree';
import { getXattr } from '@cambium/system';
import { defer, firstReason, needsPeer, type RunResult, run, type StaticFault, type StaticServer, scratch, startStaticServer } from '@cambium/testkit';
import { runOurs } from './our-command.test.ts';
import { buildWorld, line, skip } from './two-worlds.test.ts';

interface World {
  directory: string;
  /** What the server serves: the repository `repo`. */
  repo: string;
  server: StaticServer;
  /** A command line of libostree's in the directory. */
  theirs(text: string, env?: Record<string, string>): Promise<RunResult>;
  ours(text: string, env?: Record<string, string>): Promise<RunResult>;
  /** Runs the same line with `REPO` as `theirs` and as `ours`, and compares status, output and last message. */
  same(text: string, env?: Record<string, string>): Promise<RunResult>;
}

async function world(t: TestContext, faults?: (path: string, count: number) => StaticFault | undefined): Promise<World> {
  const directory = join(scratch(t), 'world');
  buildWorld(directory);
  const env = { ...process.env, LC_ALL: 'C.UTF-8', TZ: 'UTC', SOURCE_DATE_EPOCH: '1600000000' };
  const repo = join(directory, 'repo');
  const theirs: World['theirs'] = (text, more = {}) => run('ostree', line(text).args, { cwd: directory, env: { ...env, ...more }, accept: 'any' });
  const ours: World['ours'] = (text, more = {}) => runOurs(line(text).args, { cwd: directory, env: { ...env, ...more } });
  await theirs('init --repo=repo --mode=archive');
  await theirs('commit --repo=repo -b main tree');
  const server = await startStaticServer({ directory: repo, ...(faults === undefined ? {} : { faults: ({ path, count }) => faults(path, count) }) });
  defer(t, () => server.stop());
  for (const name of ['theirs', 'ours']) {
    await theirs(`init --repo=${name} --mode=archive`);
    await theirs(`remote add --repo=${name} --no-sign-verify origin ${server.url}`);
  }
  const last = (stderr: string): string =>
    (
      stderr
        .trimEnd()
        .split(/[\r\n]/)
        .at(-1) ?? ''
    ).replaceAll(directory, '');
  const same: World['same'] = async (text, more) => {
    const peers = await theirs(text.replaceAll('REPO', 'theirs'), more);
    const mine = await ours(text.replaceAll('REPO', 'ours'), more);
    const isPull = / pull |^pull /.test(text);
    assert.deepEqual(
      [mine.status, isPull ? '' : mine.stdout, last(mine.stderr)],
      [peers.status, isPull ? '' : peers.stdout, peers.status === 0 ? '' : last(peers.stderr)],
      `${text}\n${mine.stderr}`,
    );
    return mine;
  };
  return { directory, repo, server, theirs, ours, same };
}

test('pulls that are refused say why as libostree does', { skip }, async (t) => {
  const { directory, repo, theirs, same } = await world(t);
  await same('pull --repo=REPO --require-static-deltas origin main');
  for (const name of ['theirs', 'ours']) {
    await theirs(`remote add --repo=${name} --no-sign-verify broken badscheme://something`);
    await theirs(`remote add --repo=${name} --no-sign-verify --custom-backend=other foreign`);
    await theirs(`remote add --repo=${name} --no-sign-verify --custom-backend=other foreign2 docker://somewhere/else`);
  }
  await same('pull --repo=REPO broken main');
  await same('pull --repo=REPO foreign');
  await same('pull --repo=REPO foreign2 main');
  await same('remote refs --repo=REPO foreign');
  await same('remote show-url --repo=REPO foreign2');
  // What stands in place of a ref is often a page of HTML.
  writeFileSync(join(repo, 'refs/heads/page'), '<html>\n<p>lots of text here and more of it, and more\n</html>\n'.repeat(9));
  await same('pull --repo=REPO origin page');
  rmSync(join(repo, 'refs/heads/page'));
  // A repository that has refs of remotes too.
  await theirs('pull --repo=theirs origin main');
  await theirs('refs --repo=theirs --create=mine origin:main');
  await theirs('init --repo=copy --mode=archive');
  const [mine, peers] = [await (await world(t)).ours(`pull-local --repo=${directory}/copy ${directory}/theirs`), await theirs('pull-local --repo=copy theirs')];
  assert.deepEqual([mine.status, mine.stderr], [peers.status, 'error: Invalid ref name origin:main\n'], peers.stderr);
});

test('a commit that is named by its checksum needs no summary', { skip }, async (t) => {
  const { repo, server, same, theirs, ours } = await world(t);
  const { stdout } = await theirs('rev-parse --repo=repo main');
  writeFileSync(join(repo, 'summary'), 'broken\n');
  for (const [side, name] of [
    [theirs, 'theirs'],
    [ours, 'ours'],
  ] as const) {
    assert.equal((await side(`pull --repo=${name} origin main`)).status, 1, name);
    server.forget();
    assert.equal((await side(`pull --repo=${name} origin main@${stdout.trim()}`)).status, 0, name);
    assert.deepEqual(
      server.requests().filter(({ path }) => path.startsWith('/summary')),
      [],
      name,
    );
  }
  await same('rev-parse --repo=REPO origin:main');
});

test('damaged content is copied by pull-local as libostree does, but not in silence', { skip }, async (t) => {
  const { directory, repo, theirs, ours } = await world(t);
  const opened = await Repo.open(repo);
  const { checksum } = opened.readDirTree(opened.readCommit(opened.refs.resolve('main')).root.tree).files[0] as { checksum: Checksum };
  const path = opened.objectPath('file', checksum);
  const bytes = readFileSync(path);
  // Another content of the same length.
  const contentAt = 8 + bytes.readUInt32BE(0);
  writeFileSync(path, Buffer.concat([bytes.subarray(0, contentAt), deflateRawSync(inflateRawSync(bytes.subarray(contentAt)).map((byte) => byte ^ 1))]));
  for (const [side, name] of [
    [theirs, 'theirs'],
    [ours, 'ours'],
  ] as const) {
    await theirs(`init --repo=${name}-copy --mode=bare-user`);
    assert.equal((await side(`pull-local --repo=${name}-copy --untrusted repo main`)).status, 1);
    const copied = await side(`pull-local --repo=${name}-copy repo main`);
    assert.equal(copied.status, 0, copied.stderr);
    if (side === ours) assert.match(copied.stderr, new RegExp(`warning: File object ${checksum} does not match its checksum`));
    assert.match((await theirs(`fsck --repo=${name}-copy`)).stderr, new RegExp(`Corrupted file object; checksum expected='${checksum}'`));
  }
  const copy = (name: string): Buffer => readFileSync(join(directory, `${name}-copy/objects`, checksum.slice(0, 2), `${checksum.slice(2)}.file`));
  assert.deepEqual(copy('ours'), copy('theirs'));
});

/** A repository of libostree's own suite, with a directory that names `../afile`. */
const TRAVERSAL = '/usr/libexec/installed-tests/libostree/ostree-path-traverse.tar.gz';

test('names that lead elsewhere are refused before anything has them', {
  skip: skip || (existsSync(TRAVERSAL) ? false : 'libostree’s test suite is not installed'),
}, async (t) => {
  const { directory, same, theirs } = await world(t);
  execFileSync('tar', ['xf', TRAVERSAL, '-C', directory]);
  const server = await startStaticServer({ directory: join(directory, 'ostree-path-traverse/repo') });
  defer(t, () => server.stop());
  for (const name of ['theirs', 'ours']) await theirs(`remote add --repo=${name} --no-sign-verify elsewhere ${server.url}`);
  const { stderr } = await same('pull --repo=REPO elsewhere pathtraverse-test');
  assert.match(stderr, /[0-9a-f]{64}\.dirtree: Invalid \/ in filename \.\.\/afile/);
});

test('a commit whose size nobody tells is taken up to libostree’s limit', { skip }, async (t) => {
  const { repo, theirs, ours } = await world(t);
  const opened = await Repo.open(repo);
  const commit = opened.refs.resolve('main');
  const path = opened.objectPath('commit', commit);
  for (const [size, text] of [
    [10 * 1024 * 1024, /Corrupted commit object/],
    [10 * 1024 * 1024 + 1, /exceeded maximum size of 10485760 bytes/],
  ] as const) {
    writeFileSync(path, Buffer.alloc(size));
    for (const side of [theirs, ours]) assert.match((await side(`pull --repo=${side === ours ? 'ours' : 'theirs'} origin main`)).stderr, text);
  }
});

test('detached metadata that cannot be read stops only who verifies signatures', { skip }, async (t) => {
  const { repo, same, theirs } = await world(t);
  const opened = await Repo.open(repo);
  writeFileSync(opened.objectPath('commitmeta', opened.refs.resolve('main')), 'borkborkbork\n');
  await same('pull --repo=REPO origin main');
  await same('show --repo=REPO origin:main');
  for (const name of ['theirs', 'ours']) await theirs(`config --repo=${name} --group=remote_"origin" set gpg-verify true`);
  for (const name of ['theirs', 'ours'] as const) rmSync(join(repo, '..', name, 'objects'), { recursive: true });
  for (const name of ['theirs', 'ours'] as const) mkdirSync(join(repo, '..', name, 'objects'));
  const [mine, peers] = [await same('config --repo=REPO get core.mode'), await theirs('pull --repo=theirs origin main')];
  assert.deepEqual([mine.status, peers.status], [0, 1]);
});

test('what a server is told of its client', { skip }, async (t) => {
  const { server, theirs, ours } = await world(t);
  const told: unknown[] = [];
  for (const [side, name] of [
    [theirs, 'theirs'],
    [ours, 'ours'],
  ] as const) {
    server.forget();
    assert.equal((await side(`pull --repo=${name} --http-header=foo=bar --http-header=baz=badger --append-user-agent=dodo/2.15 origin main`)).status, 0);
    told.push([...new Set(server.requests().map(({ headers }) => JSON.stringify([headers['user-agent'], headers.foo, headers.baz])))]);
  }
  assert.deepEqual(told[1], told[0]);
  assert.deepEqual(told[1], ['["libostree/2022.7 dodo/2.15","bar","badger"]']);
});

test('connections that are lost in the middle cost no try', { skip }, async (t) => {
  const isObject = (path: string): boolean => /^\/objects\/.*\.(?:filez|dirtree|dirmeta|commit)$/.test(path);
  const { server, theirs, ours } = await world(t, (path, count) => (isObject(path) && count === 0 ? { do: 'reset', afterBytes: 7 } : undefined));
  const pulled = await ours('pull --repo=ours --network-retries=0 origin main');
  assert.equal(pulled.status, 0, pulled.stderr);
  const resumed = server.requests().filter(({ headers }) => headers.range === 'bytes=7-');
  const broken = server.requests().filter(({ path, bytes, headers }) => isObject(path) && bytes === 7 && headers.range === undefined);
  assert.ok(broken.length > 5);
  assert.deepEqual(resumed.map(({ path }) => path).sort(), broken.map(({ path }) => path).sort());
  assert.equal((await theirs('fsck --repo=ours')).status, 0);
});

test('a type of signature that is for tests verifies nothing elsewhere', { skip }, async (t) => {
  const { same, theirs } = await world(t);
  for (const name of ['theirs', 'ours']) await theirs(`pull --repo=${name} origin main`);
  for (const name of ['theirs', 'ours']) await theirs(`sign --repo=${name} --sign-type=dummy origin:main key`, { OSTREE_DUMMY_SIGN_ENABLED: '1' });
  await same('sign --repo=REPO --sign-type=dummy --verify origin:main key', { OSTREE_DUMMY_SIGN_ENABLED: '1' });
  await same('sign --repo=REPO --sign-type=dummy --verify origin:main key');
});

const gpgSkip = firstReason(skip, needsPeer('gpg'));

/** Makes two keys, exports them beside the world, and returns their fingerprints. */
function makeKeys(t: TestContext, directory: string): { home: string; one: string; two: string } {
  const home = join(directory, '../gnupg');
  mkdirSync(home, { mode: 0o700 });
  defer(t, () => execFileSync('gpgconf', ['--homedir', home, '--kill', 'all'], { stdio: 'ignore' }));
  const gpg = (...args: string[]): string =>
    execFileSync('gpg', ['--homedir', home, '--batch', '--quiet', '--passphrase', '', ...args], { encoding: 'utf8', stdio: 'pipe' });
  for (const name of ['one', 'two']) {
    gpg('--quick-generate-key', `${name} <${name}@example.com>`, 'ed25519', 'sign', 'never');
    gpg('--output', join(directory, `${name}.gpg`), '--export', `${name}@example.com`);
  }
  const rows = gpg('--with-colons', '--list-secret-keys').split('\n');
  const [one, two] = rows.flatMap((row) => (row.startsWith('fpr:') ? [row.split(':')[9] as string] : [])) as [string, string];
  return { home, one, two };
}

test('paths of keys in the config of a remote', { skip: gpgSkip }, async (t) => {
  const { directory, server, theirs, ours } = await world(t);
  const { home, one } = makeKeys(t, directory);
  await theirs(`gpg-sign --repo=repo --gpg-homedir=${home} main ${one}`);
  const keys = (...names: string[]): string => names.map((name) => (name === '' ? '' : join(directory, name))).join(',');
  const cases: [value: string, message: RegExp | undefined][] = [
    [keys('one.gpg'), undefined],
    [keys('two.gpg', 'one.gpg'), undefined],
    [keys('two.gpg', 'one.gpg').replace(',', ';'), undefined],
    [keys('one.gpg', ''), undefined],
    [keys('two.gpg'), /public key not found/],
    [keys('', 'one.gpg'), /\(\).*No such file or directory/],
    [keys('nowhere/', 'one.gpg'), /nowhere.*No such file or directory/],
    [keys('one.gpg', 'nowhere.gpg'), /nowhere\.gpg.*No such file or directory/],
    [`${keys('one.gpg', 'two.gpg')};${keys('one.gpg')}`, /key value list contains more than one separator/],
  ];
  for (const [index, [value, message]] of cases.entries()) {
    for (const [side, name] of [
      [theirs, 'theirs'],
      [ours, 'ours'],
    ] as const) {
      await theirs(`remote add --repo=${name} --set=gpgkeypath=${value} r${index} ${server.url}`);
      const result = await side(`pull --repo=${name} r${index} main`);
      assert.equal(result.status, message === undefined ? 0 : 1, `${name} ${value}: ${result.stderr}`);
      if (message !== undefined) assert.match(result.stderr, message, `${name} ${value}`);
    }
  }
});

test('signed summaries: told, kept, and asked for only when they have changed', { skip: gpgSkip }, async (t) => {
  const { directory, repo, server, theirs, ours, same } = await world(t);
  const { home, one, two } = makeKeys(t, directory);
  await theirs(`gpg-sign --repo=repo --gpg-homedir=${home} main ${one}`);
  const summary = (...signers: string[]): Promise<RunResult> =>
    theirs(`summary --repo=repo --update --gpg-homedir=${home} ${signers.map((signer) => `--gpg-sign=${signer}`).join(' ')}`);
  await summary(one);
  for (const name of ['theirs', 'ours']) {
    await theirs(`remote add --repo=${name} --set=gpg-verify=true --set=gpg-verify-summary=true --gpg-import=one.gpg signed ${server.url}`);
  }
  const asked = (): unknown[] => {
    const rows = server.requests().filter(({ path }) => path.startsWith('/summary'));
    server.forget();
    return rows.map(({ path, status, headers }) => [path, status, headers['if-none-match'] !== undefined, headers['if-modified-since'] !== undefined]).sort();
  };
  const cache = (name: string): unknown[] =>
    ['signed', 'signed.sig'].map((file) => {
      const path = join(directory, name, 'tmp/cache/summaries', file);
      return [readFileSync(path, 'hex'), Math.floor(statSync(path).mtimeMs / 1000), Buffer.from(getXattr(path, 'user.etag') ?? []).toString()];
    });
  const pull = async (name: 'theirs' | 'ours', status = 0): Promise<unknown[]> => {
    const result = await (name === 'ours' ? ours : theirs)(`pull --repo=${name} signed main`);
    assert.equal(result.status, status, result.stderr);
    return asked();
  };
  asked();
  assert.deepEqual((await pull('theirs')).length, 2);
  assert.deepEqual((await pull('ours')).length, 2);
  assert.deepEqual(cache('ours'), cache('theirs'));
  // Nothing has changed: one question, answered without a body.
  const again = await pull('theirs');
  assert.deepEqual(again, [['/summary.sig', 304, true, true]]);
  assert.deepEqual(await pull('ours'), again);
  assert.match((await same('remote summary --repo=REPO signed')).stdout, /found 1 signature:\n\n {2}Signature made .*\n {2}Good signature from/);
  await same('remote summary --repo=REPO --raw signed');
  await same('remote refs --repo=REPO signed');
  // Signed again: the signature comes, and the summary only when it is another.
  await summary(two, one);
  asked();
  await pull('theirs');
  await pull('ours');
  assert.deepEqual(cache('ours'), cache('theirs'));
  await same('remote summary --repo=REPO signed');
  // Who signed what is told when verbose.
  const verbose = await ours('pull --repo=ours -v signed main');
  assert.match(verbose.stderr, /Summary of signed:\ngpg: .*\n?.*valid: one <one@example\.com>/);
  assert.match(verbose.stderr, /Commit [0-9a-f]{64}:\ngpg: valid: one <one@example\.com>/);
  // A kept summary that does not fit its signature is fetched anew; libostree's tests have a way to see that.
  for (const name of ['theirs', 'ours']) appendFileSync(join(directory, name, 'tmp/cache/summaries/signed'), 'x');
  const failing = await same('pull --repo=REPO signed main', { OSTREE_REPO_TEST_ERROR: 'invalid-cache' });
  assert.match(failing.stderr, /cached summary invalid and OSTREE_REPO_TEST_ERROR_INVALID_CACHE specified/);
  await pull('theirs');
  await pull('ours');
  assert.deepEqual(cache('ours'), cache('theirs'));
  // A summary that its signature is not of.
  const old = readFileSync(join(repo, 'summary'));
  await theirs('refs --repo=repo --create=other main');
  await summary(one);
  writeFileSync(join(repo, 'summary'), old);
  for (const name of ['theirs', 'ours'] as const) {
    const result = await (name === 'ours' ? ours : theirs)(`pull --repo=${name} signed main`);
    assert.match(result.stderr, /error: .*\n?[\s\S]*BAD signature/, name);
  }
  assert.deepEqual(cache('ours'), cache('theirs'));
});
