/** Cookies of a remote: `REMOTE.cookies.txt` in the repository, in Netscape's format as libcurl reads it. */
import { join } from 'node:path';
import { errnoOf } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { readBounded } from '../repo/bounded-file.ts';

const MAX_COOKIE_BYTES: number = 1024 * 1024;

interface Cookie {
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

/** Returns the cookies of a remote; none when there is no such file. @throws OSTREE_CONFIG_INVALID */
export function readCookies(repoPath: string, remote: string): readonly Cookie[] {
  const path = join(repoPath, `${remote}.cookies.txt`);
  let text: string;
  try {
    text = readBounded(path, MAX_COOKIE_BYTES, () =>
      ostreeError('OSTREE_CONFIG_INVALID', `Cannot read "${path}": no regular file of at most ${MAX_COOKIE_BYTES} bytes`),
    ).toString('latin1');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  const cookies: Cookie[] = [];
  for (const whole of text.split(/\r?\n/)) {
    const line = whole.replace(/^#HttpOnly_/, '');
    if (line.startsWith('#')) continue;
    const [domain, subdomains, cookiePath, secure, expires, name, value] = line.split('\t');
    if (domain === undefined || cookiePath === undefined || name === undefined || value === undefined || /[\x00-\x1f\x7f]/.test(name + value)) continue;
    cookies.push({
      domain: domain.replace(/^\./, '').toLowerCase(),
      subdomains: subdomains?.toUpperCase() === 'TRUE' || domain.startsWith('.'),
      path: cookiePath,
      secure: secure?.toUpperCase() === 'TRUE',
      expires: Number(expires) || 0,
      name,
      value,
    });
  }
  return cookies;
}

/** Returns the `Cookie` header of a request, or undefined. Source: RFC 6265, section 5.4. */
export function cookieHeader(cookies: readonly Cookie[], url: URL, nowMs: number = Date.now()): string | undefined {
  const fits = cookies.filter(
    ({ domain, subdomains, path, secure, expires }) =>
      (url.hostname === domain || (subdomains && url.hostname.endsWith(`.${domain}`))) &&
      (url.pathname === path || url.pathname.startsWith(path.endsWith('/') ? path : `${path}/`)) &&
      (!secure || url.protocol === 'https:') &&
      (expires === 0 || expires * 1000 > nowMs),
  );
  return fits.length === 0 ? undefined : fits.map(({ name, value }) => `${name}=${value}`).join('; ');
}
