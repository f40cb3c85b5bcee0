/** What may stand in `o` and `g`. Source: D-Bus specification, "Valid Object Paths" and "Valid Signatures". */
import { typeAt } from './type.ts';

const OBJECT_PATH = /^\/(?:[A-Za-z0-9_]+(?:\/[A-Za-z0-9_]+)*)?$/;

export function isObjectPath(text: string): boolean {
  return OBJECT_PATH.test(text);
}

/** Returns whether `text` is a sequence of complete types. Like GLib, without the bound of 255 bytes that D-Bus sets. */
export function isSignature(text: string): boolean {
  try {
    let at = 0;
    while (at < text.length) at = typeAt(text, at, 1)[1];
    return true;
  } catch {
    return false;
  }
}
