/** Random stacks of layers: our squash gives the tree that `umoci unpack` gives. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildImageLayout, firstReason, needsPeer, needsRoot, type TarEntrySpec } from '@cambium/testkit';
import fc from 'fast-check';
import { checkedOut, folder, newRepo, storeImage, unpackedByUmoci } from './image-trees.test.ts';

type Node =
  | { kind: 'file'; content: string; mode: number }
  | { kind: 'symlink'; target: string }
  | { kind: 'fifo' }
  | { kind: 'link' }
  | { kind: 'directory'; mode: number; opaque: boolean; removed: string[]; children: Record<string, Node> };

const name = fc.constantFrom('a', 'b', 'c', 'dé');

const { node } = fc.letrec<{ node: Node }>((tie) => ({
  node: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.record({ kind: fc.constant('file' as const), content: fc.constantFrom('', 'x', 'yy'), mode: fc.constantFrom(0o644, 0o4755, 0) }),
    fc.record({ kind: fc.constant('symlink' as const), target: fc.constantFrom('a', '../b', '/nowhere') }),
    fc.record({ kind: fc.constantFrom('fifo' as const, 'link' as const) }),
    directory(tie('node')),
    directory(tie('node')),
  ),
}));

function directory(child: fc.Arbitrary<Node>): fc.Arbitrary<Node> {
  return fc.record({
    kind: fc.constant('directory' as const),
    mode: fc.constantFrom(0o755, 0o700, 0o1777),
    opaque: fc.boolean(),
    removed: fc.uniqueArray(name, { maxLength: 2 }),
    children: fc.dictionary(name, child, { maxKeys: 4 }),
  });
}

/** Entries in the order in which builders write them: a directory, its whiteouts, then what it holds. */
function entriesOf(root: Node): TarEntrySpec[] {
  const entries: TarEntrySpec[] = [];
  const files: string[] = [];
  const visit = (path: string, at: Node): void => {
    switch (at.kind) {
      case 'file':
        entries.push({ path, content: at.content, mode: at.mode });
        files.push(path);
        break;
      case 'symlink':
        entries.push({ path, kind: 'symlink', target: at.target });
        break;
      case 'fifo':
        entries.push({ path, kind: 'fifo' });
        break;
      case 'link':
        if (files.length > 0) entries.push({ path, kind: 'hardlink', target: files.at(-1) as string });
        break;
      case 'directory':
        entries.push({ path: `${path}/`, mode: at.mode });
        if (at.opaque && path !== '.') entries.push({ path: `${path}/.wh..wh..opq` });
        for (const gone of at.removed) entries.push({ path: `${path}/.wh.${gone}` });
        for (const [child, inside] of Object.entries(at.children)) visit(`${path}/${child}`, inside);
    }
  };
  visit('.', root);
  return entries;
}

test('any stack of layers is what umoci makes of it', { skip: firstReason(needsPeer('ostree', 'umoci', 'getfattr'), needsRoot()) }, async (t) => {
  const repo = await newRepo(t);
  let richest = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(directory(node), { minLength: 2, maxLength: 4 }), async (roots) => {
      const layers = roots.map((root) => ({ entries: entriesOf(root), compression: 'none' as const }));
      const layout = await buildImageLayout(folder(t, 'layout'), { images: [{ layers }] });
      const image = await storeImage(repo, layout);
      const wanted = await unpackedByUmoci(t, layout);
      for (const [path, line] of wanted) if (line.startsWith('special')) wanted.delete(path);
      richest = Math.max(richest, wanted.size);
      assert.deepEqual(await checkedOut(t, repo, image.commit), wanted);
    }),
    { numRuns: 30, seed: 20_260_101 },
  );
  assert.ok(richest > 8, `the largest tree had ${richest} entries`);
});
