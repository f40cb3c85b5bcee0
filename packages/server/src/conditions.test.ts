import assert from 'node:assert/strict';
import test from 'node:test';
import { isUnchanged, rangeOf, type Validators } from './conditions.ts';

const file: Validators = { etag: '"x-1"', modifiedMs: Date.parse('Sat, 21 Nov 2026 02:00:00 GMT') + 500 };
const [before, at, after] = ['Sat, 21 Nov 2026 01:59:59 GMT', 'Sat, 21 Nov 2026 02:00:00 GMT', 'Sat, 21 Nov 2026 02:00:01 GMT'];

test('conditions: a tag counts, or else a date', () => {
  const table: [headers: Record<string, string>, unchanged: boolean][] = [
    [{}, false],
    [{ 'if-none-match': '"x-1"' }, true],
    [{ 'if-none-match': '"y", W/"x-1"' }, true],
    [{ 'if-none-match': '*' }, true],
    [{ 'if-none-match': '"y"' }, false],
    [{ 'if-none-match': '"y"', 'if-modified-since': after }, false],
    [{ 'if-modified-since': before }, false],
    [{ 'if-modified-since': at }, true],
    [{ 'if-modified-since': after }, true],
    [{ 'if-modified-since': 'nonsense' }, false],
  ];
  for (const [headers, unchanged] of table) assert.equal(isUnchanged(headers, file), unchanged, JSON.stringify(headers));
});

test('ranges: one, of bytes, of the same file', () => {
  const table: [range: string, condition: string | undefined, expected: ReturnType<typeof rangeOf>][] = [
    ['bytes=0-', undefined, { start: 0, end: 10 }],
    ['bytes=3-4', undefined, { start: 3, end: 5 }],
    ['Bytes=3-99', undefined, { start: 3, end: 10 }],
    ['bytes=-4', undefined, { start: 6, end: 10 }],
    ['bytes=-99', undefined, { start: 0, end: 10 }],
    ['bytes=9-', undefined, { start: 9, end: 10 }],
    ['bytes=10-', undefined, 'unsatisfiable'],
    ['bytes=-0', undefined, 'unsatisfiable'],
    ['bytes=4-3', undefined, undefined],
    ['bytes=-', undefined, undefined],
    ['bytes=0-1,3-4', undefined, undefined],
    ['bytes=99999999999999999999-', undefined, undefined],
    ['lines=0-1', undefined, undefined],
    ['bytes=3-', '"x-1"', { start: 3, end: 10 }],
    ['bytes=3-', '"y"', undefined],
    ['bytes=3-', 'W/"x-1"', undefined],
    ['bytes=3-', at, { start: 3, end: 10 }],
    ['bytes=3-', after, undefined],
  ];
  for (const [range, condition, expected] of table) {
    const headers = condition === undefined ? { range } : { range, 'if-range': condition };
    assert.deepEqual(rangeOf(headers, 10, file), expected, JSON.stringify(headers));
  }
  assert.equal(rangeOf({}, 10, file), undefined);
  assert.equal(rangeOf({ range: 'bytes=-5' }, 0, file), 'unsatisfiable');
});
