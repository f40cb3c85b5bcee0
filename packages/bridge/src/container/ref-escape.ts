/**
 * Names of refs for what is no name of a ref: digests and references of images. Source: ostree-ext `refescape.rs`.
 */
import { bridgeError } from '../errors.ts';

/**
 * Returns `prefix/` and the escaped text: letters, digits, `-` stay, and a `/` after a letter or digit that is not the last character;
 * `_` is doubled; everything else becomes `_HEX_`.
 *
 * @throws BRIDGE_REFERENCE_INVALID for an empty text, or one with a NUL
 */
export function escapeRef(prefix: string, text: string): string {
  if (text === '' || text.includes('\0')) throw bridgeError('BRIDGE_REFERENCE_INVALID', 'Cannot make a ref of a name that is empty or holds a NUL');
  let escaped = '';
  let isAfterWord = false;
  const characters = [...text];
  for (const [i, character] of characters.entries()) {
    const isWord = /^[A-Za-z0-9]$/.test(character);
    if (isWord || character === '-' || (character === '/' && isAfterWord && i < characters.length - 1)) escaped += character;
    else if (character === '_') escaped += '__';
    else escaped += `_${(character.codePointAt(0) as number).toString(16).toUpperCase().padStart(2, '0')}_`;
    isAfterWord = isWord;
  }
  return `${prefix}/${escaped}`;
}

/** Returns the text that a ref stands for. @throws BRIDGE_REFERENCE_INVALID */
export function unescapeRef(prefix: string, ref: string): string {
  const fail = (): Error => bridgeError('BRIDGE_REFERENCE_INVALID', `Cannot read the ref "${ref.slice(0, 300)}": it is not an escaped name below ${prefix}/`);
  if (!ref.startsWith(`${prefix}/`)) throw fail();
  const escaped = ref.slice(prefix.length + 1);
  if (escaped === '') throw fail();
  let text = '';
  for (let at = 0; at < escaped.length; ) {
    const rest = /^(?:([A-Za-z0-9/-])|(__)|_([0-9A-F]{2,6})_)/.exec(escaped.slice(at, at + 8));
    if (rest === null) throw fail();
    const [all, plain, line, hex] = rest as unknown as [string, string | undefined, string | undefined, string | undefined];
    const code = hex === undefined ? 0 : Number.parseInt(hex, 16);
    if (code > 0x10_ffff || (hex !== undefined && code === 0)) throw fail();
    text += plain ?? (line === undefined ? String.fromCodePoint(code) : '_');
    at += all.length;
  }
  return text;
}
