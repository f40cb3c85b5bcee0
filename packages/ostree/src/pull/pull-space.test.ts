/** What is fetched keeps to the room that the config leaves, whatever a server announces. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Checksum, isKnownError } from '@cambium/base';
import { needsRoot, scratch, tmpfs } from '@cambium/testkit';
import { commitDirectory } from '../commit/commit-directory.ts';
import { writeCommitObject } from '../commit/commit-object.ts';
import { MutableTree } from '../commit/mutable-tree.ts';
import { encodeFilezHeader } from '../format/object-format.ts';
import { loosePath } from '../format/object-path.ts';
import type { RepoMode } from '../format/types.ts';
import { Repo } from '../repo/repo.ts';
import { Transaction } from '../write/transaction.ts';
import { pull } from './pull.ts';

const MIB = 1024 * 1024;
const VOLUME_MIB = 128;
const RESERVE_MIB = 96;

interface Remote {
  url: string;
  /** Of the odd object. */
  sentBytes(): number;
}

/** Serves a repository with `files` files of 4 MiB that do not compress, one of which is answered by `odd` instead. */
async function serve(t: TestContext, files: number, odd?: { header: Buffer; length?: number }): Promise<Remote> {
  const directory = scratch(t);
  mkdirSync(join(directory, 'tree'));
  for (let index = 0; index < files; index++) writeFileSync(join(directory, 'tree', `${index}`), randomBytes(4 * MIB));
  const repo = await Repo.init(join(directory, 'repo'), { mode: 'archive' });
  let chosen: Checksum | undefined;
  {
    await using transaction = await Transaction.begin(repo, { fsync: false });
    const tree = MutableTree.empty();
    await commitDirectory(transaction, tree, join(directory, 'tree'));
    chosen = tree.file('0');
    transaction.setRef('main', writeCommitObject(transaction, { root: tree.write(transaction), timestamp: 1n }));
    await transaction.commit();
  }
  let sent = 0;
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://x').pathname;
    if (odd === undefined || path !== `/objects/${loosePath('file', chosen as Checksum, 'archive')}`) {
      try {
        response.end(readFileSync(join(repo.path, path)));
      } catch {
        response.writeHead(404).end();
      }
      return;
    }
    response.writeHead(200, odd.length === undefined ? {} : { 'content-length': odd.length });
    const chunk = randomBytes(64 * 1024);
    const more = (): void => {
      for (let flows = true; flows && !response.destroyed; sent += chunk.byteLength) flows = response.write(chunk);
    };
    response.on('drain', more);
    response.write(odd.header);
    more();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, sentBytes: () => sent };
}

/** Returns a repository on a volume of its own that must keep three quarters of it free. */
async function tightRepo(t: TestContext, mode: RepoMode): Promise<{ repo: Repo; volume: string }> {
  const volume = await tmpfs(t, VOLUME_MIB);
  const path = join(volume, 'repo');
  await Repo.init(path, { mode });
  const config = readFileSync(join(path, 'config'), 'utf8');
  writeFileSync(
    join(path, 'config'),
    `${config.replace('[core]\n', `[core]\nmin-free-space-size=${RESERVE_MIB}MB\n`)}\n[remote "origin"]\nurl=http://127.0.0.1/\ngpg-verify=false\n`,
  );
  return { repo: await Repo.open(path), volume };
}

function freeMiB(volume: string): number {
  const { bfree, bsize } = statfsSync(volume);
  return (bfree * bsize) / MIB;
}

function filezHeader(claimedBytes: number): Buffer {
  return Buffer.from(encodeFilezHeader({ uid: 0, gid: 0, mode: 0o100644, target: '', xattrs: [] }, claimedBytes));
}

const TERA = 2 ** 40;

test('what is announced to be larger than the room for it is not begun; what grows beyond it is ended', { skip: needsRoot() }, async (t) => {
  const cases: [name: string, mode: RepoMode, odd: { header: Buffer; length?: number }, most: number][] = [
    // Some is under way in the sockets' buffers before it is refused.
    ['Content-Length', 'archive', { header: filezHeader(TERA), length: TERA }, 16 * MIB],
    ['the size in its header', 'bare-user', { header: filezHeader(TERA) }, 16 * MIB],
    ['nothing but an endless body', 'archive', { header: filezHeader(TERA) }, (VOLUME_MIB - RESERVE_MIB + 16) * MIB],
  ];
  for (const [name, mode, odd, most] of cases) {
    const { repo, volume } = await tightRepo(t, mode);
    const remote = await serve(t, 1, odd);
    let least = freeMiB(volume);
    const watch = setInterval(() => {
      least = Math.min(least, freeMiB(volume));
    }, 1);
    await assert.rejects(
      pull(repo, { remote: 'origin', url: remote.url, refs: ['main'], networkRetries: 0 }),
      (error) => isKnownError(error, 'OSTREE_SPACE_RESERVED'),
      name,
    );
    clearInterval(watch);
    assert.ok(remote.sentBytes() <= most, `${name}: ${remote.sentBytes()} bytes were sent`);
    assert.ok(least >= RESERVE_MIB - 1, `${name}: ${least} MiB were left`);
    // Nothing is left of it.
    assert.ok(freeMiB(volume) > VOLUME_MIB - 2, `${name}: ${freeMiB(volume)} MiB are free`);
  }
});

test('the room that fetched files take while they are on their way is given back', { skip: needsRoot() }, async (t) => {
  // 24 of 32 MiB: files and objects at once would be 48.
  const remote = await serve(t, 6);
  for (const mode of ['archive', 'bare-user'] as const) {
    const { repo } = await tightRepo(t, mode);
    await pull(repo, { remote: 'origin', url: remote.url, refs: ['main'], requests: 1 });
    assert.equal(repo.readDirTree(repo.readCommit(repo.refs.resolve('origin:main')).root.tree).files.length, 6);
  }
});
