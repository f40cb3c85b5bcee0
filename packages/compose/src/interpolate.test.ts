import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { interpolate, lookupIn } from './interpolate.ts';

const environment = lookupIn({ FOO: 'first', BAR: '', V: 'v', DOLLAR: '$FOO' });

test('interpolation follows the table of the specification', () => {
  // compose-go template_test.go and compose-apps.md 15.4, 5.2
  const rows: [string, string][] = [
    ['-ok ${BAR:-defaultValue}', '-ok defaultValue'],
    ['+ok ${UNSET:-${BAR-defaultValue}}', '+ok '],
    ['ok ${UNSET_VAR-${FOO} ${FOO}}', 'ok first first'],
    ['ok ${BAR+$FOO}', 'ok first'],
    ['$$FOO', '$FOO'],
    ['$$$FOO', '$first'],
    ['${FOO}', 'first'],
    ['$FOO-$V', 'first-v'],
    ['$FOO_', ''],
    ['${UNSET}', ''],
    ['${V:-w}${V-w}${V:+w}${V+w}${V:?m}${V?m}', 'vvwwvv'],
    ['[${BAR:-w}][${BAR-w}][${BAR:+w}][${BAR+w}][${BAR?m}]', '[w][][][w][]'],
    ['[${U:-w}][${U-w}][${U:+w}][${U+w}]', '[w][w][][]'],
    ['${U:-a b-c:?d}', 'a b-c:?d'],
    ['${U:-{"k":{}}} tail', '{"k":{}} tail'],
    ['${U-${W-${X-deep}}}', 'deep'],
    ['${FOO:-${BAR:?not looked at}}', 'first'],
    ['${U:-$$}', '$'],
    ['${DOLLAR}', '$FOO'],
    ['${foo}', ''],
    ['${U-ä😀}é', 'ä😀é'],
  ];
  for (const [template, want] of rows) assert.equal(interpolate(template, environment), want, template);
});

test('bad templates and missing variables have codes', () => {
  for (const template of [
    '${FOO',
    '$',
    'a $ b',
    '$1',
    '${}',
    '${ FOO}',
    '${FOO }',
    '${1A}',
    '${FOO#x}',
    '${FOO/a/b}',
    '${FOO^^}',
    '${:-x}',
    '${U-${}',
    '$(x)',
  ]) {
    assert.throws(() => interpolate(template, environment), { code: 'COMPOSE_TEMPLATE_INVALID' }, template);
  }
  assert.throws(() => interpolate('${FOO', environment), { message: 'Invalid template: "${FOO"' });
  assert.throws(() => interpolate('${BAR:?need ${FOO}}', environment), {
    code: 'COMPOSE_VARIABLE_REQUIRED',
    message: 'required variable BAR is missing a value: need first',
  });
  assert.throws(() => interpolate('${U?}', environment), { code: 'COMPOSE_VARIABLE_REQUIRED', message: 'required variable U is missing a value' });
});

test('unset variables without a default are reported', () => {
  const unset: string[] = [];
  interpolate('$A ${B} ${C:-x} ${D+y} ${E-$F} $$G $FOO', environment, { onUnset: (name) => unset.push(name) });
  assert.deepEqual(unset, ['A', 'B', 'F']);
});

test('names of object members are not variables', () => {
  assert.equal(interpolate('${constructor-none}${toString-none}', lookupIn({})), 'nonenone');
});

test('values cannot grow without bound', () => {
  const huge = 'x'.repeat(1 << 20);
  assert.throws(() => interpolate('$H'.repeat(100), (name) => (name === 'H' ? huge : undefined)), { code: 'COMPOSE_TOO_COMPLEX' });
  assert.throws(() => interpolate('${U-'.repeat(5000) + '}'.repeat(5000), () => undefined), { code: 'COMPOSE_TOO_COMPLEX' });
});

test('property: text with doubled dollars comes back', () => {
  fc.assert(fc.property(fc.string(), (text) => interpolate(text.replaceAll('$', '$$$$'), () => undefined) === text));
});

test('property: a tree of templates evaluates as the table says', () => {
  type Tree = { text: string } | { name: string; operator: string; word: Tree[] };
  const names = ['FOO', 'BAR', 'U', 'V'];
  const { tree } = fc.letrec<{ tree: Tree[] }>((tie) => ({
    tree: fc.array(
      fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        fc.stringMatching(/^[a-z :?+-]{0,5}$/).map((text) => ({ text })),
        fc.record({ name: fc.constantFrom(...names), operator: fc.constantFrom(':-', '-', ':+', '+'), word: tie('tree') }),
      ),
      { maxLength: 3 },
    ) as fc.Arbitrary<Tree[]>,
  }));
  const write = (parts: Tree[]): string => parts.map((part) => ('text' in part ? part.text : `\${${part.name}${part.operator}${write(part.word)}}`)).join('');
  const evaluate = (parts: Tree[]): string =>
    parts
      .map((part) => {
        if ('text' in part) return part.text;
        const value = environment(part.name);
        const present = value !== undefined && !(part.operator.startsWith(':') && value === '');
        if (part.operator.endsWith('+')) return present ? evaluate(part.word) : '';
        return present ? value : evaluate(part.word);
      })
      .join('');
  fc.assert(fc.property(tree, (parts) => interpolate(write(parts), environment) === evaluate(parts)));
});

test('property: any text gives a value or a known error', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('$', '{', '}', ':', '-', '?', '+', 'A', 'FOO', ' ', '\n') }), (text) => {
      try {
        return typeof interpolate(text, environment) === 'string';
      } catch (error) {
        return isKnownError(error);
      }
    }),
    { numRuns: 1000 },
  );
});
