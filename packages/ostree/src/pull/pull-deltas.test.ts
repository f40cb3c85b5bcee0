/** Static deltas of libostree in a pull: which parts are asked for, and what a hostile one may cost. */
import assert from 'node:assert/strict';
import { createCipheriv } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Checksum } from '@cambium/base';
import { defer, firstReason, needsPeer, needsRoot, type StaticServer, scratch, startStaticServer } from '@cambium/testkit';
import { fsck } from '../check/fsck.ts';
import { encodeSuperblock, parseSuperblock, partObjects } from '../delta/superblock.ts';
import { deltaPath } from '../format/delta-path.ts';
import { ostree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { pull } from './pull.ts';
import type { PullOptions } from './pull-types.ts';

const skip = firstReason(needsPeer('ostree'), needsRoot());
const quick: PullOptions = { remote: 'origin', refs: ['main'], backoffMs: 1, networkRetries: 0 };
const FILES = 5;

interface Served {
  server: StaticServer;
  source: string;
  /** Superblock of the delta from nothing, with a part for each file. */
  superblock: string;
  to: Checksum;
  client: Repo;
}

async function serve(t: TestContext): Promise<Served> {
  const directory = scratch(t);
  const [source, tree, client] = [join(directory, 'source'), join(directory, 'tree'), join(directory, 'client')];
  mkdirSync(tree);
  for (let i = 0; i < FILES; i++) {
    writeFileSync(join(tree, `file-${i}`), createCipheriv('aes-128-ctr', Buffer.alloc(16, i), Buffer.alloc(16)).update(Buffer.alloc(900_000)));
  }
  ostree(source, 'init', '--mode=archive');
  const to = ostree(source, 'commit', '-b', 'main', tree).trim() as Checksum;
  ostree(source, 'static-delta', 'generate', '--empty', '--max-chunk-size=1', `--to=${to}`);
  const server = await startStaticServer({ directory: source });
  defer(t, () => server.stop());
  ostree(client, 'init', '--mode=bare-user');
  ostree(client, 'remote', 'add', '--no-gpg-verify', 'origin', server.url);
  return { server, source, superblock: join(source, deltaPath({ from: undefined, to }), 'superblock'), to, client: await Repo.open(client) };
}

function partsAsked(server: StaticServer): number[] {
  return server.requests().flatMap(({ path }) => {
    const index = /\/deltas\/.*\/(\d+)$/.exec(path)?.[1];
    return index === undefined ? [] : [Number(index)];
  });
}

test('only parts that bring something are asked for, each once', { skip }, async (t) => {
  const { server, superblock, to, client } = await serve(t);
  const { parts } = parseSuperblock(readFileSync(superblock));
  assert.ok(parts.length >= FILES, `${parts.length} parts`);
  await pull(client, quick);
  assert.deepEqual(partsAsked(server), [...parts.keys()]);
  server.forget();
  // Of every other part the objects go, and the commit that needs them.
  const missing = [...parts.keys()].filter((index) => index % 2 === 0);
  const gone = missing.flatMap((index) => [...partObjects(parts[index] as (typeof parts)[number])]);
  ostree(client.path, 'refs', '--delete', 'origin');
  for (const { type, checksum } of [...gone, { type: 'commit' as const, checksum: to }]) rmSync(client.findObject(type, checksum) as string, { force: true });
  await pull(await Repo.open(client.path), quick);
  assert.deepEqual(partsAsked(server), missing);
  assert.deepEqual((await fsck(await Repo.open(client.path))).bad, []);
});

test('a part whose announced size is beyond all measure is never asked for', { skip }, async (t) => {
  const { server, source, superblock, to, client } = await serve(t);
  const { parts, fallbacks, timestamp, commitBytes } = parseSuperblock(readFileSync(superblock));
  const forged = parts.map((part) => ({ ...part, sizeBytes: 2 ** 50, usizeBytes: 2 ** 50 }));
  writeFileSync(superblock, encodeSuperblock({ endianness: 'little', timestamp, from: undefined, to, commitBytes, parts: forged, fallbacks }));
  ostree(source, 'summary', '-u');
  await assert.rejects(pull(client, { ...quick, staticDeltas: 'required' }), { code: 'OSTREE_OBJECT_TOO_LARGE' });
  assert.deepEqual([client.refs.read('origin:main'), partsAsked(server)], [undefined, []]);
  // The objects can be had singly.
  await pull(client, quick);
  assert.deepEqual([client.refs.read('origin:main'), partsAsked(server)], [to, []]);
  assert.deepEqual((await fsck(client)).bad, []);
});
