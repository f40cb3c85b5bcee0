import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Checksum, compareUtf8, parseChecksum, sha256Hex, stableJson } from '@cambium/base';
import fc from 'fast-check';
import { createSquash, type DirectoryListing, type DirectoryRef, type DirectoryStore } from './squash.ts';

const checksum = (text: string): Checksum => parseChecksum(sha256Hex(text));
const IMPLIED = checksum('implied');
const DEFAULT = checksum('default');

function memoryStore(): DirectoryStore & { reads: number; listings: Map<Checksum, DirectoryListing> } {
  const listings = new Map<Checksum, DirectoryListing>();
  const byName = (a: { name: string }, b: { name: string }): number => compareUtf8(a.name, b.name);
  const store = {
    listings,
    reads: 0,
    impliedMeta: IMPLIED,
    defaultMeta: DEFAULT,
    read(tree: Checksum) {
      store.reads++;
      return listings.get(tree) as DirectoryListing;
    },
    write(listing: DirectoryListing) {
      const sorted = { files: listing.files.toSorted(byName), dirs: listing.dirs.toSorted(byName) };
      const id = checksum(stableJson(sorted));
      listings.set(id, sorted);
      return id;
    },
  };
  return store;
}

/** A directory as nested values: text is a file, an object a directory; key '' is the directory's metadata. */
interface Nested {
  [name: string]: string | Nested;
}

function build(store: DirectoryStore, nested: Nested): DirectoryRef {
  const files = [];
  const dirs = [];
  for (const [name, value] of Object.entries(nested)) {
    if (name === '') continue;
    if (typeof value === 'string') files.push({ name, checksum: checksum(`file ${value}`) });
    else dirs.push({ name, ...build(store, value) });
  }
  const meta = nested[''];
  return { tree: store.write({ files, dirs }), meta: typeof meta === 'string' ? checksum(`meta ${meta}`) : IMPLIED };
}

const CASES: { name: string; layers: Nested[]; result: Nested }[] = [
  { name: 'one plain layer', layers: [{ '': 'r', a: '1', d: { '': 'd', b: '2' } }], result: { '': 'r', a: '1', d: { '': 'd', b: '2' } } },
  { name: 'a file over a file', layers: [{ a: '1' }, { a: '2' }], result: { a: '2' } },
  { name: 'a whiteout', layers: [{ a: '1', b: '1' }, { '.wh.a': '' }], result: { b: '1' } },
  { name: 'a whiteout of a directory', layers: [{ d: { a: '1' } }, { '.wh.d': '' }], result: {} },
  {
    name: 'a whiteout beside a new entry of the same name',
    layers: [{ d: { a: '1' } }, { '.wh.d': '', d: { '': 'new', b: '2' } }],
    result: { d: { '': 'new', b: '2' } },
  },
  { name: 'a whiteout hides only what is lower', layers: [{ a: '1' }, { '.wh.a': '' }, { a: '3' }], result: { a: '3' } },
  {
    name: 'an opaque directory',
    layers: [{ d: { '': 'x', a: '1', s: { c: '1' } } }, { d: { '': 'y', '.wh..wh..opq': '', b: '2' } }],
    result: { d: { '': 'y', b: '2' } },
  },
  {
    name: 'an opaque root',
    layers: [
      { '': 'x', a: '1' },
      { '.wh..wh..opq': '', b: '2' },
    ],
    result: { '': 'x', b: '2' },
  },
  { name: 'aufs book-keeping', layers: [{ '.wh..wh.plnk': '', a: '1' }], result: { a: '1' } },
  { name: 'a file over a directory', layers: [{ d: { a: '1' } }, { d: 'file' }], result: { d: 'file' } },
  { name: 'a directory over a file over a directory', layers: [{ d: { a: '1' } }, { d: 'file' }, { d: { b: '2' } }], result: { d: { b: '2' } } },
  {
    name: 'metadata of the highest layer that states it',
    layers: [{ '': 'low', d: { '': 'low' } }, { '': 'mid', d: { '': 'mid' } }, { d: { a: '1' } }],
    result: { '': 'mid', d: { '': 'mid', a: '1' } },
  },
  { name: 'no layers', layers: [], result: {} },
];

/** What a result looks like: directories that nobody describes have the default metadata. */
function expected(store: DirectoryStore, nested: Nested): DirectoryRef {
  const listing = { files: [] as { name: string; checksum: Checksum }[], dirs: [] as { name: string; tree: Checksum; meta: Checksum }[] };
  for (const [name, value] of Object.entries(nested)) {
    if (name === '') continue;
    if (typeof value === 'string') listing.files.push({ name, checksum: checksum(`file ${value}`) });
    else listing.dirs.push({ name, ...expected(store, value) });
  }
  const meta = nested[''];
  return { tree: store.write(listing), meta: typeof meta === 'string' ? checksum(`meta ${meta}`) : DEFAULT };
}

for (const { name, layers, result } of CASES) {
  test(`squash: ${name}`, () => {
    const store = memoryStore();
    const squashed = createSquash(store)(layers.map((layer) => build(store, layer)));
    assert.deepEqual(squashed, expected(store, result));
  });
}

test('a subtree that only one layer has keeps its name', () => {
  const store = memoryStore();
  const base = build(store, { usr: { '': 'u', bin: { '': 'b', sh: '1' } } });
  const top = build(store, { etc: { '': 'e', passwd: '1' } });
  const squashed = createSquash(store)([base, top]);
  assert.equal(store.read(squashed.tree).dirs.find(({ name }) => name === 'usr')?.tree, store.read(base.tree).dirs[0]?.tree);
});

test('directories of shared layers are read once for several images', () => {
  const store = memoryStore();
  const base = build(store, { usr: { '': 'u', a: { '': 'm', x: '1' }, b: { '': 'm', y: '1' } } });
  const squash = createSquash(store);
  squash([base]);
  const before = store.reads;
  squash([base]);
  assert.equal(store.reads, before);
});

/** The slow and simple truth: paths in a map, layer after layer. */
function naive(layers: readonly Nested[]): Map<string, string> {
  const result = new Map<string, string>();
  const drop = (path: string): void => {
    for (const key of [...result.keys()]) if (key === path || key.startsWith(`${path}/`)) result.delete(key);
  };
  for (const layer of layers) {
    const hide = (nested: Nested, path: string): void => {
      for (const [name, value] of Object.entries(nested)) {
        if (name === '.wh..wh..opq') {
          for (const key of [...result.keys()]) if (key.startsWith(path)) result.delete(key);
        } else if (name.startsWith('.wh.') && !name.startsWith('.wh..wh.')) drop(`${path}${name.slice(4)}`);
        else if (typeof value !== 'string' && name !== '') hide(value, `${path}${name}/`);
      }
    };
    hide(layer, '');
    const put = (nested: Nested, path: string): void => {
      for (const [name, value] of Object.entries(nested)) {
        if (name === '' || name.startsWith('.wh.')) continue;
        const full = `${path}${name}`;
        if (typeof value === 'string') {
          drop(full);
          result.set(full, `file ${value}`);
        } else {
          if (result.get(full) !== 'directory') drop(full);
          result.set(full, 'directory');
          put(value, `${full}/`);
        }
      }
    };
    put(layer, '');
  }
  return result;
}

function flatten(store: DirectoryStore, root: DirectoryRef): Map<string, string> {
  const result = new Map<string, string>();
  const contents = new Map(['1', '2', '3'].map((value) => [checksum(`file ${value}`), `file ${value}`]));
  const visit = (tree: Checksum, path: string): void => {
    const { files, dirs } = store.read(tree);
    for (const { name, checksum: file } of files) result.set(`${path}${name}`, contents.get(file) as string);
    for (const { name, tree: child } of dirs) {
      result.set(`${path}${name}`, 'directory');
      visit(child, `${path}${name}/`);
    }
  };
  visit(root.tree, '');
  return result;
}

test('squashing any layers equals applying them one after the other', () => {
  const content = fc.constantFrom('1', '2', '3');
  const name = fc.constantFrom('a', 'b', 'c');
  const marker = fc.constantFrom('.wh.a', '.wh.b', '.wh..wh..opq', '.wh..wh.aufs');
  const { layer } = fc.letrec<{ layer: Nested }>((tie) => ({
    layer: fc
      .tuple(
        fc.array(fc.tuple(name, fc.oneof({ depthSize: 'small', maxDepth: 3 }, content, tie('layer'))), { maxLength: 3 }),
        fc.array(fc.tuple(marker, fc.constant('1')), { maxLength: 2 }),
      )
      .map(([entries, markers]) => Object.fromEntries<string | Nested>([...entries, ...markers])),
  }));
  fc.assert(
    fc.property(fc.array(layer, { maxLength: 5 }), (layers) => {
      const store = memoryStore();
      const squashed = createSquash(store)(layers.map((nested) => build(store, nested)));
      assert.deepEqual(new Map([...flatten(store, squashed)].sort()), new Map([...naive(layers)].sort()));
    }),
    { numRuns: 500 },
  );
});
