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
    assert.deepEqual(listStores(once), [...before, '/srv/app/storage']);
    assert.equal(addStore(once, '/srv/app/storage'), once);
    const twice = addStore(once, '/srv/"odd" \\path');
    assert.deepEqual(listStores(twice), [...before, '/srv/app/storage', '/srv/"odd" \\path']);
    const back = removeStore(removeStore(twice, '/srv/app/storage'), '/srv/"odd" \\path');
    assert.deepEqual(listStores(back), before);
    assert.equal(removeStore(once, '/srv/app/storage').trimEnd(), text.trimEnd());
  });
}

test('removing what is not listed changes nothing', () => {
  assert.equal(removeStore(DEBIAN, '/else'), DEBIAN);
});

test('any set of stores survives additions and removals in any order', () => {
  const path = fc.stringMatching(/^\/[a-z0-9._-]{1,12}$/);
  fc.assert(
    fc.property(
      fc.uniqueArray(path, { maxLength: 6 }),
      fc.uniqueArray(path, { maxLength: 6 }),
      fc.constantFrom(...CASES.map(([, text]) => text)),
      (adds, removes, start) => {
        let text = start;
        for (const store of adds) text = addStore(text, store);
        for (const store of removes) text = removeStore(text, store);
        const expected = new Set([...listStores(start), ...adds]);
        for (const store of removes) expected.delete(store);
        assert.deepEqual(new Set(listStores(text)), expected);
      },
    ),
  );
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
