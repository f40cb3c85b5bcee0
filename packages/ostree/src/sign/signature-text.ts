/** Verdicts on signatures as `ostree show` prints them. */
import type { GpgSignature } from '@cambium/trust';

const INDENT = '  ';

/**
 * Returns the lines after a commit, with line ends; '' for no signatures. Times are local, as libostree's are.
 *
 * @param now seconds since 1970: what has expired by then
 */
export function formatSignatures(signatures: readonly GpgSignature[], now: number): string {
  if (signatures.length === 0) return '';
  const count = `Found ${signatures.length} signature${signatures.length === 1 ? '' : 's'}:\n`;
  return count + signatures.map((signature) => `\n${describe(signature, now)}`).join('');
}

function describe(signature: GpgSignature, now: number): string {
  // About a changed signature gpg says nothing that could be believed.
  const unknown = signature.bad;
  const algorithm = unknown ? '[unknown name]' : (signature.pubkeyAlgorithm ?? '[unknown name]');
  const lines = [`Signature made ${formatLocalTime(unknown ? 0 : (signature.created ?? 0))} using ${algorithm} key ID ${keyIdOf(signature)}`];
  if (signature.missingKey) lines.push("Can't check signature: public key not found");
  else if (signature.revoked) lines.push('Key revoked');
  else {
    const name = `"${signature.userName ?? '[unknown name]'} <${signature.userEmail ?? ''}>"`;
    if (signature.valid) lines.push(`Good signature from ${name}`);
    else lines.push(signature.expired ? `Expired signature from ${name}` : `BAD signature from ${name}`);
  }
  const primary = signature.primaryFingerprint ?? (signature.bad ? signature.keyId : undefined);
  const hasPrimary = primary !== undefined && (signature.bad || primary !== signature.fingerprint);
  if (hasPrimary) lines.push(`Primary key ID ${primary.slice(-16)}`);
  lines.push(...expiry('Signature', signature.expires, now), ...expiry('Key', signature.keyExpires, now));
  if (hasPrimary) lines.push(...expiry('Primary key', signature.primaryKeyExpires, now));
  return lines.map((line) => `${INDENT}${line}\n`).join('');
}

function keyIdOf(signature: GpgSignature): string {
  return (signature.fingerprint ?? signature.keyId).slice(-16);
}

function expiry(what: string, at: number | undefined, now: number): string[] {
  return at === undefined ? [] : [`${what} ${at < now ? 'expired' : 'expires'} ${formatLocalTime(at)}`];
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** With what GLib pads the day. */
const FIGURE_SPACE = '\u2007';

/** As GLib's `%c` in the C locale: `Fri Nov 20 21:52:04 2026`. */
export function formatLocalTime(seconds: number): string {
  const time = new Date(seconds * 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(':');
  return `${DAYS[time.getDay()]} ${MONTHS[time.getMonth()]} ${String(time.getDate()).padStart(2, FIGURE_SPACE)} ${clock} ${time.getFullYear()}`;
}
