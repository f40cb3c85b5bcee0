import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addStore, listStores, removeStore, storageDriver } from './storage-conf.ts';

const DEBIAN = `# This file is the configuration file for all tools
[storage]
driver = "overlay"
graphroot = "/var/lib/containers/storage"

[storage.options]
# additionalimagestores = ["/not/this"]
additionalimagestores = [
]
size = ""

[storage.options.overlay]
mountopt = "nodev"
`;

const CASES: [name: string, text: string][] = [
  ['an empty file', ''],
  ['no options table', '[storage]\ndriver = "overlay"\n'],
  ['an options table without the key', '[storage.options]\nsize = ""\n\n[storage.options.overlay]\nmountopt = "nodev"\n'],
  ['the distribution file', DEBIAN],
  ['a list on one line', '[storage.options]\nadditionalimagestores = ["/a", "/b"] # ours\n'],
  ['a list over lines', '[storage.options]\nadditionalimagestores = [\n  \'/a\', # one\n  "/b"\n]\n'],
  ['no line break at the end', '[storage]\ndriver = "overlay"\n[storage.options]'],
];

for (const [name, text] of CASES) {
  test(`a store can be added to and removed from ${name}`, () => {
    const before = listStores(text);
    const once = addStore(text, '/srv/app/storage');
    assert.deepEqual(listStores(once), ['/srv/app/storage', ...before]);
    assert.equal(addStore(once, '/srv/app/storage'), once);
    const twice = addStore(once, '/srv/"odd" \\path');
    assert.deepEqual(listStores(twice), ['/srv/"odd" \\path', '/srv/app/storage', ...before]);
    assert.equal(removeStore(removeStore(twice, '/srv/app/storage'), '/srv/"odd" \\path'), text);
    assert.equal(removeStore(removeStore(twice, '/srv/"odd" \\path'), '/srv/app/storage'), text);
  });
}

test('removing what is not listed changes nothing', () => {
  assert.equal(removeStore(DEBIAN, '/else'), DEBIAN);
});

test('any set of stores goes again in any order, and leaves the bytes from before', () => {
  const path = fc.stringMatching(/^\/[A-Z0-9._ @-]{1,12}$/);
  const uniquePaths = fc.uniqueArray(path, { minLength: 1, maxLength: 6 });
  const orders = uniquePaths.chain((adds) => fc.tuple(fc.constant(adds), fc.shuffledSubarray(adds, { minLength: adds.length })));
  fc.assert(
    fc.property(orders, fc.constantFrom(...CASES.map(([, text]) => text)), ([adds, removes], start) => {
      let text = start;
      for (const store of adds) text = addStore(text, store);
      assert.deepEqual(listStores(text), [...adds.toReversed(), ...listStores(start)]);
      for (const store of removes) text = removeStore(text, store);
      assert.equal(text, start);
    }),
  );
});

test('stores that were there can be taken out from any place, comments stay', () => {
  const text = '[storage.options]\nadditionalimagestores = [ # all\n  "/a", # "/b",\n  "/b",\n  "/c", # last\n]\n';
  assert.equal(removeStore(text, '/a'), '[storage.options]\nadditionalimagestores = [ # all\n  # "/b",\n  "/b",\n  "/c", # last\n]\n');
  for (const store of ['/a', '/b', '/c'])
    assert.deepEqual(
      listStores(removeStore(text, store)),
      ['/a', '/b', '/c'].filter((other) => other !== store),
    );
  assert.deepEqual(listStores(['/b', '/c', '/a'].reduce(removeStore, text)), []);
});

test('a list that is not plain strings is refused', () => {
  assert.throws(() => addStore('[storage.options]\nadditionalimagestores = [1]\n', '/a'), { code: 'DEVICE_STORAGE_CONF_INVALID' });
  assert.throws(() => listStores('[storage.options]\nadditionalimagestores = ["/a"\n'), { code: 'DEVICE_STORAGE_CONF_INVALID' });
  assert.throws(() => listStores('[storage.options]\nadditionalimagestores = "/a"\n'), { code: 'DEVICE_STORAGE_CONF_INVALID' });
});

test('the driver is read', () => {
  assert.equal(storageDriver(DEBIAN), 'overlay');
  assert.equal(storageDriver(''), undefined);
});

test('ways to write the list that a second one would break are refused', () => {
  for (const text of [
    '[storage]\noptions.additionalimagestores = ["/a"]\n',
    '[storage]\noptions = { additionalimagestores = ["/a"] }\n',
    '["storage"."options"]\nsize = ""\n',
    '[storage."options"]\nsize = ""\n',
    '[storage.options]\n"additionalimagestores" = ["/a"]\n',
    'storage.options.size = ""\n',
  ]) {
    assert.throws(() => addStore(text, '/x'), { code: 'DEVICE_STORAGE_CONF_INVALID' }, text);
  }
  // Neither of these is such a way.
  assert.doesNotThrow(() => addStore('[storage]\ndriver = "overlay" # options = "x"\n[storage.options.overlay]\nmountopt = "nodev"\n', '/x'));
});

test('paths that podman would take apart are refused', () => {
  for (const store of ['/a,b', '/a\nb', '/a\u0000']) assert.throws(() => addStore('', store), { code: 'DEVICE_STORAGE_CONF_INVALID' });
});

test('the driver is that of the table [storage]', () => {
  assert.equal(storageDriver('[other]\ndriver = "btrfs"\n[storage]\n# driver = "zfs"\ndriver = \'vfs\'\n[storage.options]\ndriver = "x"\n'), 'vfs');
});
