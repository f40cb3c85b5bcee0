/**
 * Dates as people and scripts write them: the forms of GNU `date --date` that are in use.
 *
 * `@SECONDS`; ISO 8601 with `T` or a space, with or without zone; RFC 2822; `Nov 20 2026`, `20 Nov 2026`, `11/20/2026`;
 * times of day with seconds, am/pm, zone; `now`, `today`, `yesterday`, `tomorrow`, `3 days ago`, `last week`, `next monday`.
 * Several of these may be combined, each once, as in `yesterday 10:00 UTC`. Without a zone the local one is meant.
 * Source: GNU coreutils manual, "Date input formats".
 */
import { cliError } from './errors.ts';

interface Fields {
  year?: number;
  month?: number;
  day?: number;
  hour?: number;
  minute?: number;
  second?: number;
  zoneMinutes?: number;
  weekday?: { day: number; ordinal: number };
  offset: Record<Unit, number>;
}

type Unit = 'year' | 'month' | 'day' | 'hour' | 'minute' | 'second';

const MONTHS = ['january', 'february', 'march', 'april', 'may', 'june', 'july', 'august', 'september', 'october', 'november', 'december'];
const WEEKDAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];
const ORDINALS: Readonly<Record<string, number>> = {
  last: -1,
  this: 0,
  next: 1,
  first: 1,
  third: 3,
  fourth: 4,
  fifth: 5,
  sixth: 6,
  seventh: 7,
  eighth: 8,
  ninth: 9,
  tenth: 10,
  eleventh: 11,
  twelfth: 12,
};
const UNITS: Readonly<Record<string, readonly [unit: Unit, amount: number]>> = {
  year: ['year', 1],
  month: ['month', 1],
  fortnight: ['day', 14],
  week: ['day', 7],
  day: ['day', 1],
  hour: ['hour', 1],
  minute: ['minute', 1],
  min: ['minute', 1],
  second: ['second', 1],
  sec: ['second', 1],
};
const ZONES: Readonly<Record<string, number>> = {
  utc: 0,
  gmt: 0,
  ut: 0,
  z: 0,
  est: -300,
  edt: -240,
  cst: -360,
  cdt: -300,
  mst: -420,
  mdt: -360,
  pst: -480,
  pdt: -420,
  cet: 60,
  cest: 120,
};
const DAYS: Readonly<Record<string, number>> = { yesterday: -1, today: 0, now: 0, tomorrow: 1 };
const LONGEST_DATE = 200;

/** Returns seconds since 1970. @throws CLI_DATE_INVALID with libostree's message */
export function parseDate(text: string, now: Date = new Date()): bigint {
  const fail = (): Error => cliError('CLI_DATE_INVALID', `Could not parse '${text}'`, { hint: 'Write it as @SECONDS, or like 2026-11-20 10:30:00 +0000' });
  if (text.length > LONGEST_DATE) throw fail();
  const epoch = /^\s*@(-?\d{1,15})(?:[.,]\d*)?\s*$/.exec(text);
  if (epoch !== null) return BigInt(epoch[1] as string);
  const fields: Fields = { offset: { year: 0, month: 0, day: 0, hour: 0, minute: 0, second: 0 } };
  let rest = text.toLowerCase().trim();
  while (rest !== '') {
    const length = takeItem(rest, fields);
    if (length === undefined) throw fail();
    rest = rest.slice(length).replace(/^[\s,]+/, '');
  }
  const seconds = combine(fields, now);
  if (seconds === undefined) throw fail();
  return BigInt(seconds);
}

/** Reads one item at the start of `text` into `fields`; returns its length, or undefined when there is none. */
function takeItem(text: string, fields: Fields): number | undefined {
  const iso = /^(\d{4,6})-(\d{1,2})-(\d{1,2})(?:t(?=\d))?(?=\D|$|\d{1,2}:)/.exec(text);
  if (iso !== null) return setDate(fields, iso[1], iso[2], iso[3]) ? iso[0].length : undefined;
  const time = /^(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?(?:\s*([ap])\.?m\.?)?(?=[\s,+\-z]|$)/.exec(text);
  if (time !== null) {
    if (!setTime(fields, time)) return undefined;
    // A number with a sign right after a time is a zone, also in `12:00 +2 hours`, as GNU has it.
    const zone = /^\s*([+-])(\d{1,2})(?::?(\d{2}))?(?!\d)/.exec(text.slice(time[0].length));
    if (zone !== null && !setZone(fields, zone)) return undefined;
    return time[0].length + (zone?.[0].length ?? 0);
  }
  const hours = /^(\d{1,2})\s*([ap])\.?m\.?(?=[\s,]|$)/.exec(text);
  if (hours !== null) return setTime(fields, [hours[0], hours[1], '0', undefined, hours[2]]) ? hours[0].length : undefined;
  const american = /^(\d{1,2})\/(\d{1,2})(?:\/(\d{4}))?(?=[\s,]|$)/.exec(text);
  if (american !== null) return setDate(fields, american[3], american[1], american[2]) ? american[0].length : undefined;
  const compact = /^(\d{4})(\d{2})(\d{2})(?=[\s,]|$)/.exec(text);
  if (compact !== null) return setDate(fields, compact[1], compact[2], compact[3]) ? compact[0].length : undefined;
  const dayMonth = /^(\d{1,2})[\s-]*([a-z]{3,9})\.?(?:[\s,-]*(\d{4})(?!:))?(?=[\s,]|$)/.exec(text);
  if (dayMonth !== null && monthOf(dayMonth[2]) !== undefined)
    return setDate(fields, dayMonth[3], monthOf(dayMonth[2]), dayMonth[1]) ? dayMonth[0].length : undefined;
  const monthDay = /^([a-z]{3,9})\.?\s+(\d{1,2})(?:,?\s+(\d{4})(?!:))?(?=[\s,]|$)/.exec(text);
  if (monthDay !== null && monthOf(monthDay[1]) !== undefined)
    return setDate(fields, monthDay[3], monthOf(monthDay[1]), monthDay[2]) ? monthDay[0].length : undefined;
  return takeRelative(text, fields) ?? takeWord(text, fields) ?? takeYear(text, fields);
}

function takeRelative(text: string, fields: Fields): number | undefined {
  const match = /^(?:([+-]?\s*\d{1,9})\s*|([a-z]+)\s+)?([a-z]+?)s?(\s+ago)?(?=[\s,]|$)/.exec(text);
  const unit = match === null ? undefined : UNITS[match[3] as string];
  if (match === null || unit === undefined) return undefined;
  let amount = match[1] === undefined ? 1 : Number(match[1].replace(/\s/g, ''));
  if (match[2] !== undefined) {
    const ordinal = ORDINALS[match[2]];
    if (ordinal === undefined) return undefined;
    amount = ordinal;
  }
  fields.offset[unit[0]] += amount * unit[1] * (match[4] === undefined ? 1 : -1);
  return match[0].length;
}

function takeWord(text: string, fields: Fields): number | undefined {
  const match = /^(?:([a-z]+)\s+)?([a-z]+)\.?(?=[\s,]|$)/.exec(text);
  const single = /^([a-z]+)\.?(?=[\s,+-]|$)/.exec(text);
  const ordinal = match?.[1] === undefined ? undefined : ORDINALS[match[1]];
  if (match !== null && ordinal !== undefined) {
    const day = weekdayOf(match[2]);
    if (day === undefined || fields.weekday !== undefined) return undefined;
    fields.weekday = { day, ordinal };
    return match[0].length;
  }
  if (single === null) return undefined;
  const word = single[1] as string;
  const days = DAYS[word];
  if (days !== undefined) {
    fields.offset.day += days;
    return single[0].length;
  }
  const day = weekdayOf(word);
  if (day !== undefined && fields.weekday === undefined) {
    fields.weekday = { day, ordinal: 0 };
    return single[0].length;
  }
  const zone = ZONES[word];
  if (zone !== undefined && fields.zoneMinutes === undefined) {
    fields.zoneMinutes = zone;
    return single[0].length;
  }
  return undefined;
}

/** `Fri Nov 20 21:55:03 UTC 2026`: a year may come late. */
function takeYear(text: string, fields: Fields): number | undefined {
  const match = /^(\d{4})(?=[\s,]|$)/.exec(text);
  if (match === null || fields.month === undefined || fields.year !== undefined) return undefined;
  fields.year = Number(match[1]);
  return match[0].length;
}

function setDate(fields: Fields, year: string | undefined, month: string | number | undefined, day: string | undefined): boolean {
  if (fields.month !== undefined) return false;
  fields.month = Number(month);
  fields.day = Number(day);
  if (year !== undefined) fields.year = Number(year);
  return fields.month >= 1 && fields.month <= 12 && fields.day >= 1 && fields.day <= 31;
}

function setTime(fields: Fields, match: ArrayLike<string | undefined>): boolean {
  if (fields.hour !== undefined) return false;
  let hour = Number(match[1]);
  const half = match[4];
  if (half !== undefined) {
    if (hour < 1 || hour > 12) return false;
    hour = (hour % 12) + (half === 'p' ? 12 : 0);
  }
  fields.hour = hour;
  fields.minute = Number(match[2]);
  fields.second = Number(match[3] ?? 0);
  return hour <= 23 && fields.minute <= 59 && fields.second <= 60;
}

function setZone(fields: Fields, match: RegExpExecArray): boolean {
  const minutes = Number(match[2]) * 60 + Number(match[3] ?? 0);
  fields.zoneMinutes = match[1] === '-' ? -minutes : minutes;
  return minutes <= 24 * 60;
}

function combine(fields: Fields, now: Date): number | undefined {
  const { offset, weekday } = fields;
  const named = fields.month !== undefined || fields.hour !== undefined || weekday !== undefined;
  // A date or weekday alone means its midnight; an offset alone keeps the time of day.
  // An offset alone counts in today's distance from UTC, whatever daylight saving says of the day it leads to.
  const zone = fields.zoneMinutes ?? (named ? undefined : -now.getTimezoneOffset());
  // The local calendar says which day it is, also when a zone is given.
  const base = localParts(now);
  let day = fields.day ?? base.day;
  if (weekday !== undefined && fields.day === undefined) {
    const today = new Date(Date.UTC(base.year, base.month, day)).getUTCDay();
    const weeks = weekday.ordinal - (weekday.ordinal > 0 && today !== weekday.day ? 1 : 0);
    day += ((weekday.day - today + 7) % 7) + 7 * weeks;
  }
  const month = fields.month === undefined ? base.month : fields.month - 1;
  const year = fields.year ?? base.year;
  if (fields.day !== undefined && new Date(Date.UTC(year, month, day)).getUTCDate() !== day) return undefined;
  const parts = [
    year + offset.year,
    month + offset.month,
    day + offset.day,
    named ? (fields.hour ?? 0) : base.hour,
    named ? (fields.minute ?? 0) : base.minute,
    named ? (fields.second ?? 0) : base.second,
  ] as const;
  const atMs = zone === undefined ? new Date(...parts).getTime() : Date.UTC(...parts) - zone * 60_000;
  // Hours and below are spans of time: they do not change with daylight saving.
  const seconds = Math.floor(atMs / 1000) + offset.hour * 3600 + offset.minute * 60 + offset.second;
  return Number.isSafeInteger(seconds) ? seconds : undefined;
}

interface Parts {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
}

function localParts(date: Date): Parts {
  return { year: date.getFullYear(), month: date.getMonth(), day: date.getDate(), hour: date.getHours(), minute: date.getMinutes(), second: date.getSeconds() };
}

function monthOf(name: string | undefined): number | undefined {
  return indexOfName(MONTHS, name === 'sept' ? 'sep' : name, 1);
}

function weekdayOf(name: string | undefined): number | undefined {
  return indexOfName(WEEKDAYS, name === 'tues' ? 'tue' : name === 'wednes' ? 'wed' : name === 'thur' || name === 'thurs' ? 'thu' : name, 0);
}

/** Names count in full or by their first three letters. */
function indexOfName(names: readonly string[], name: string | undefined, first: number): number | undefined {
  const index = names.findIndex((full) => name === full || name === full.slice(0, 3));
  return index < 0 ? undefined : index + first;
}
