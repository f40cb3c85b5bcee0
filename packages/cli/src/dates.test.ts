import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import { needsPeer } from '@cambium/testkit';
import fc from 'fast-check';
import { parseDate } from './dates.ts';

const ABSOLUTE = [
  '@0',
  '@1000000',
  '@1758000000.5',
  '1970-01-01',
  '2026-11-20',
  '20261120',
  '2026-11-20 10:30',
  '2026-11-20 10:30:15',
  '2026-11-20T10:30:15',
  '2026-11-20T10:30:15Z',
  '2026-11-20 10:30:15 +0000',
  '2026-11-20 10:30:15 +0530',
  '2026-11-20T10:30:15-08:00',
  '2026-11-20 10:30:15.25 UTC',
  '2026-11-20T10:30:15,123456789+01:00',
  'Fri, 20 Nov 2026 21:55:03 +0000',
  'Fri Nov 20 21:55:03 2026',
  'Fri Nov 20 21:55:03 UTC 2026',
  '20 Nov 2026',
  '20 November 2026 3pm',
  'Nov 20, 2026',
  'Nov 20 2026 11:59 pm',
  '11/20/2026',
  '20-Nov-2026 08:00',
  '2000-02-29',
  '1969-12-31 23:59:59 UTC',
  '2026-11-20 12:00 +2 hours',
  '2026-11-20 12:00 UTC 3 days ago',
  '2026-01-31 + 1 month',
  '2024-02-29 1 year',
  '2026-11-20 next week',
];
const RELATIVE = [
  'now',
  'today',
  'yesterday',
  'tomorrow',
  '3 days ago',
  '-2 weeks',
  'last month',
  'next year',
  '10:00',
  'yesterday 10:00 UTC',
  'monday',
  'next friday',
  'last sunday',
  '1 fortnight ago',
  '90 minutes ago',
  'tomorrow 12:30',
];
const WRONG = [
  'garbage',
  '2026-13-01',
  '2026-02-30',
  '25:00',
  '10:75',
  '@',
  '@x',
  '13pm',
  'nov',
  '2026-11-20 2026-11-21',
  '5 parsecs',
  'next next',
  '12:00 13:00',
];

test('dates mean what GNU date says', { skip: needsPeer('date') }, () => {
  for (const timeZone of ['UTC', 'America/New_York', 'Asia/Kolkata']) {
    const before = process.env.TZ;
    process.env.TZ = timeZone;
    try {
      for (const text of ABSOLUTE) assert.equal(parseDate(text), gnuDate(text), `${text} in ${timeZone}`);
      for (const text of RELATIVE) {
        const ours = Number(parseDate(text));
        // The clock goes on between the two calls.
        assert.ok(Math.abs(Number(gnuDate(text)) - ours) <= 60, `${text} in ${timeZone}: ${ours} against ${gnuDate(text)}`);
      }
    } finally {
      if (before === undefined) delete process.env.TZ;
      else process.env.TZ = before;
    }
  }
});

test('what GNU date refuses is refused', { skip: needsPeer('date') }, () => {
  for (const text of WRONG) {
    assert.throws(() => gnuDate(text), text);
    assert.throws(() => parseDate(text), { code: 'CLI_DATE_INVALID' }, text);
  }
});

test('any text gives a date or a known error', () => {
  const word = fc.constantFrom(...[...ABSOLUTE, ...RELATIVE, ...WRONG].flatMap((text) => text.split(' ')));
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(word, { maxLength: 6 }).map((words) => words.join(' ')),
      ),
      (text) => {
        try {
          assert.equal(typeof parseDate(text), 'bigint');
        } catch (error) {
          assert.ok(isKnownError(error, 'CLI_DATE_INVALID'), String(error));
        }
      },
    ),
  );
});

function gnuDate(text: string): bigint {
  return BigInt(
    execFileSync('date', ['--date', text, '+%s'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], env: { ...process.env, LC_ALL: 'C' } }).trim(),
  );
}
