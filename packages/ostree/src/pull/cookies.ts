/** Cookies of a remote: `REMOTE.cookies.txt` in the repository, in Netscape's format as libcurl reads it and libostree writes it. */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, systemError } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { readBounded } from '../repo/bounded-file.ts';
import { writeFileDurably } from '../repo/durable-file.ts';
import { formatTimestamp } from '../show/rev-text.ts';

const MAX_COOKIE_BYTES: number = 1024 * 1024;
/** Cookies let in whoever has them. */
const JAR_MODE = 0o600;
/** As libostree: until nobody remembers. */
const LIFETIME_YEARS = 25;
/** The end of the calendar, 9999-12-31. */
const LAST_SECOND = 253_402_300_799;
/** What has no place in a header. */
const CONTROL = /[\x00-\x1f\x7f]/;

/** What a field that is written may hold. */
const TEXT = /^[\x20-\x7e]*$/;

export interface Cookie {
  /** As written: with a dot in front for the hosts below it too. */
  domain: string;
  /** For hosts below the domain too. */
  subdomains: boolean;
  path: string;
  secure: boolean;
  /** Seconds since 1970; 0 for the end of the session. */
  expires: number;
  name: string;
  value: string;
}

export type CookieName = Pick<Cookie, 'domain' | 'path' | 'name'>;

/** Returns the cookies of a remote; none when there is no such file, or when it is a URL and no name. @throws OSTREE_CONFIG_INVALID */
export function readCookies(repoPath: string, remote: string): readonly Cookie[] {
  return remote.includes('/') ? [] : readJar(jarOf(repoPath, remote)).flatMap((line) => parseLine(line) ?? []);
}

/** Adds a cookie for the next 25 years. @throws OSTREE_OPTION_INVALID for what the format cannot hold */
export function appendCookie(repoPath: string, remote: string, cookie: CookieName & { value: string }, now: Date = new Date()): void {
  const { domain, path, name, value } = cookie;
  const expires = new Date(now);
  expires.setUTCFullYear(now.getUTCFullYear() + LIFETIME_YEARS);
  const line = [domain, domain.startsWith('.') ? 'TRUE' : 'FALSE', path, 'FALSE', String(Math.floor(expires.getTime() / 1000)), name, value];
  if (
    line.some((field) => !TEXT.test(field)) ||
    domain === '' ||
    path === '' ||
    name === '' ||
    domain.startsWith('#') ||
    /[;=]/.test(name) ||
    value.includes(';')
  ) {
    throw ostreeError('OSTREE_OPTION_INVALID', `Cannot add cookie "${name}": a field is empty, or holds a character that no cookie may have`);
  }
  const jar = jarOf(repoPath, remote);
  try {
    const lineEnd = readJar(jar).at(-1) === '' ? '' : '\n';
    // In one write at the end: two processes that add cookies lose none.
    appendFileSync(jar, `${lineEnd}${line.join('\t')}\n`, { mode: JAR_MODE });
  } catch (error) {
    throw systemError(error, `Cannot write cookies "${jar}"`) ?? error;
  }
}

/** Removes a cookie; all else in the file stays. Returns whether it was there. @throws OSTREE_CONFIG_INVALID */
export function removeCookie(repoPath: string, remote: string, { domain, path, name }: CookieName): boolean {
  const jar = jarOf(repoPath, remote);
  const lines = readJar(jar);
  const kept = lines.filter((line) => {
    const cookie = parseLine(line);
    return cookie === undefined || cookie.domain !== domain || cookie.path !== path || cookie.name !== name;
  });
  if (kept.length === lines.length) return false;
  writeFileDurably(jar, Buffer.from(kept.join('\n'), 'latin1'), { sync: false, mode: JAR_MODE, aside: join(repoPath, 'tmp') });
  return true;
}

/** Returns cookies as `ostree remote list-cookies` prints them. */
export function formatCookies(cookies: readonly Cookie[]): string {
  return cookies.map((cookie) => `--\n${rowsOf(cookie).join('\n')}\n`).join('');
}

function rowsOf({ domain, path, name, secure, expires, value }: Cookie): string[] {
  const ends = expires <= LAST_SECOND ? [`Expires: ${formatTimestamp(BigInt(expires))}`] : [];
  return [`Domain: ${domain}`, `Path: ${path}`, `Name: ${name}`, `Secure: ${secure ? 'TRUE' : 'FALSE'}`, ...ends, `Value: ${value}`];
}

/** Returns the `Cookie` header of a request, or undefined. Source: RFC 6265, section 5.4. */
export function cookieHeader(cookies: readonly Cookie[], url: URL, nowMs: number = Date.now()): string | undefined {
  const fits = cookies.filter(({ domain, subdomains, path, secure, expires }) => {
    const host = domain.replace(/^\./, '').toLowerCase();
    return (
      (url.hostname === host || (subdomains && url.hostname.endsWith(`.${host}`))) &&
      (url.pathname === path || url.pathname.startsWith(path.endsWith('/') ? path : `${path}/`)) &&
      (!secure || url.protocol === 'https:') &&
      (expires === 0 || expires * 1000 > nowMs)
    );
  });
  return fits.length === 0 ? undefined : fits.map(({ name, value }) => `${name}=${value}`).join('; ');
}

function jarOf(repoPath: string, remote: string): string {
  if (remote === '' || /[/\0]/.test(remote)) throw ostreeError('OSTREE_OPTION_INVALID', `Invalid remote name ${remote}`);
  return join(repoPath, `${remote}.cookies.txt`);
}

/** Returns the lines of a jar, the last of them empty; one empty line when there is no jar. */
function readJar(path: string): string[] {
  try {
    return readBounded(path, MAX_COOKIE_BYTES, () => tooLarge(path))
      .toString('latin1')
      .split('\n');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [''];
    throw error;
  }
}

function tooLarge(path: string): Error {
  return ostreeError('OSTREE_CONFIG_INVALID', `Cannot read "${path}": no regular file of at most ${MAX_COOKIE_BYTES} bytes`);
}

function parseLine(whole: string): Cookie | undefined {
  const line = whole.replace(/\r$/, '').replace(/^#HttpOnly_/, '');
  if (line.startsWith('#')) return undefined;
  const [domain, subdomains, path, secure, expires, name, value] = line.split('\t');
  if (domain === undefined || path === undefined || name === undefined || value === undefined || CONTROL.test(name + value)) return undefined;
  return {
    domain,
    subdomains: subdomains?.toUpperCase() === 'TRUE' || domain.startsWith('.'),
    path,
    secure: secure?.toUpperCase() === 'TRUE',
    expires: /^\d{1,15}$/.test(expires ?? '') ? Number(expires) : 0,
    name,
    value,
  };
}
