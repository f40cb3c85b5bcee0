import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chunkName, packComponents } from './chunk-plan.ts';
import { ALWAYS_CHANGES, type Component } from './components.ts';

function component(name: string, changeFrequency: number, size: number, identifier = name): Component {
  return { identifier, name, changeFrequency, size };
}

/** The vector of the reference: three builds of one image. */
const FIRST: readonly Component[] = [
  component('pkg1', ALWAYS_CHANGES, 100000),
  component('pkg2', ALWAYS_CHANGES, 99999),
  component('pkg3', 30, 99998),
  component('pkg4', 100, 99997),
  component('pkg10', 51, 1000),
  component('pkg8', 50, 500),
  component('pkg9', 1, 200),
  component('pkg11', 100000, 199),
  component('pkg6', 30, 2),
  component('pkg7', 30, 1),
];

const names = (bins: readonly (readonly Component[])[]): string[][] => bins.map((bin) => bin.map(({ name }) => name));

test('packing as the reference has it, and again with the layers of before', () => {
  const first = packComponents(FIRST, 6);
  assert.deepEqual(names(first), [['pkg3'], ['pkg4'], ['pkg6', 'pkg7', 'pkg11'], ['pkg9', 'pkg8', 'pkg10'], ['pkg1', 'pkg2'], []]);

  const withoutPkg7 = FIRST.filter(({ name }) => name !== 'pkg7');
  const second = [...withoutPkg7.map((one) => (one.name === 'pkg1' ? component('pkg1', ALWAYS_CHANGES, 100000, 'pkg1-2') : one)), component('pkg5', 10, 40)];
  const packed = packComponents(second, 6, names(first));
  assert.deepEqual(names(packed), [['pkg3'], ['pkg4'], ['pkg6', 'pkg11'], ['pkg9', 'pkg8', 'pkg10'], ['pkg1', 'pkg2'], ['pkg5']]);
  assert.equal(packed[4]?.[0]?.identifier, 'pkg1-2');

  const third = [...second.map((one) => (one.name === 'pkg5' ? component('pkg5', 10, 40, 'pkg5-2') : one)), component('pkg12', 5, 7)];
  assert.deepEqual(names(packComponents(third, 6, names(packed))).at(-1), ['pkg5', 'pkg12']);
});

test('small sets, no components, too few layers', () => {
  assert.deepEqual(packComponents([], 6), []);
  assert.deepEqual(names(packComponents(FIRST.slice(0, 3), 6)), [['pkg1'], ['pkg2'], ['pkg3'], []]);
  assert.throws(() => packComponents(FIRST, 3), { code: 'BRIDGE_LAYERS_TOO_FEW' });
});

test('bins of before that are too many are packed anew; empty ones go', () => {
  const previous = FIRST.map(({ name }) => [name]);
  assert.deepEqual(packComponents(FIRST, 6, previous), packComponents(FIRST, 6));
  assert.deepEqual(names(packComponents(FIRST.slice(0, 2), 6, [['gone'], ['pkg2', 'gone too'], ['pkg1']])), [['pkg2'], ['pkg1']]);
});

test('two components of one name stay together', () => {
  const twins = [component('glibc', 3, 10, 'glibc.x86_64'), component('glibc', 3, 9, 'glibc.i686'), ...FIRST];
  const packed = packComponents(twins, 8, [['glibc'], ['pkg1'], []]);
  assert.deepEqual(
    packed[0]?.map(({ identifier }) => identifier),
    ['glibc.x86_64', 'glibc.i686'],
  );
  assert.equal(packed.flat().length, twins.length);
});

test('whatever the components: each in one bin, no more bins than layers, the same again', () => {
  const some = fc.uniqueArray(
    fc.record({
      name: fc.stringMatching(/^[a-z]{1,3}$/),
      size: fc.oneof(fc.nat(100), fc.nat(1_000_000_000)),
      changeFrequency: fc.oneof(fc.nat(400), fc.constant(ALWAYS_CHANGES)),
    }),
    { selector: ({ name }) => name, maxLength: 200 },
  );
  fc.assert(
    fc.property(some, fc.integer({ min: 4, max: 70 }), (raw, layers) => {
      const components = raw.map((one) => ({ ...one, identifier: `${one.name}-1` }));
      const bins = packComponents(components, layers);
      assert.ok(bins.length <= layers, `${bins.length} bins for ${layers} layers`);
      assert.deepEqual(
        bins
          .flat()
          .map(({ identifier }) => identifier)
          .sort(),
        components.map(({ identifier }) => identifier).sort(),
      );
      assert.deepEqual(packComponents(components.toReversed(), layers), bins);
    }),
  );
});

test('names of layers', () => {
  assert.equal(chunkName([]), 'Reserved for new packages');
  assert.equal(chunkName(FIRST.slice(2, 4)), 'pkg3 and pkg4');
  assert.equal(chunkName(FIRST.slice(0, 6)), '6 components');
});
