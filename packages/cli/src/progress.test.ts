import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KnownError } from '@cambium/base';
import { createProgress, formatBytes, formatCount, type ProgressMode, renderStatus, toJsonLine } from './progress.ts';

interface Step {
  type: string;
  bytes: number;
}

function record(mode: ProgressMode, isTerminal: boolean): { written: string[]; report: (event: Step) => void; end: () => void; clock: { ms: number } } {
  const written: string[] = [];
  const clock = { ms: 0 };
  const progress = createProgress({ mode, isTerminal, write: (text) => written.push(text), columns: () => 60, nowMs: () => clock.ms });
  let done = 0;
  const report = progress.watch<Step>((event) => {
    done += event.bytes;
    return { what: 'Fetching', done, total: 4000, unit: 'bytes' };
  });
  return { written, report, end: () => progress.end(), clock };
}

test('a terminal gets one line with totals, drawn ten times a second at most, and removed at the end', () => {
  const { written, report, end, clock } = record('auto', true);
  for (let i = 0; i < 4; i++) {
    clock.ms = i * 60;
    report({ type: 'step', bytes: 1000 });
  }
  end();
  assert.deepEqual(written, ['\r\u001b[KFetching: 1.0 kB of 4.0 kB 25%', '\r\u001b[KFetching: 3.0 kB of 4.0 kB 75%', '\r\u001b[K']);
});

test('elsewhere there is nothing, unless events are asked for', () => {
  const silent = record('auto', false);
  silent.report({ type: 'step', bytes: 1 });
  silent.end();
  assert.deepEqual(silent.written, []);
  const lines = record('json', false);
  lines.report({ type: 'step', bytes: 1 });
  lines.end();
  assert.deepEqual(lines.written, ['{"type":"step","bytes":1}\n']);
});

test('JSON lines hold big integers and errors', () => {
  const cause = new KnownError({ code: 'X_Y', kind: 'network', message: 'm', retryable: true });
  assert.equal(
    toJsonLine({ type: 'retry', size: 5n, cause }),
    '{"type":"retry","size":5,"cause":{"code":"X_Y","kind":"network","message":"m","retryable":true}}\n',
  );
  assert.equal(toJsonLine({ error: new Error('plain') }), '{"error":{"message":"plain"}}\n');
});

test('sizes and states for people', () => {
  for (const [bytes, text] of [
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [999_949, '999.9 kB'],
    [999_950, '1.0 MB'],
    [12_345_678, '12.3 MB'],
    [5e15, '5.0 PB'],
  ] as const) {
    assert.equal(formatBytes(bytes), text);
  }
  assert.deepEqual(
    [0, 1, 2].map((amount) => formatCount(amount, 'image')),
    ['0 images', '1 image', '2 images'],
  );
  assert.equal(renderStatus({ what: 'Checking', done: 3, unit: 'count' }), 'Checking: 3');
  assert.equal(renderStatus({ what: 'Checking', done: 3, total: 0, unit: 'count', detail: 'x' }), 'Checking: 3 of 0  x');
});
