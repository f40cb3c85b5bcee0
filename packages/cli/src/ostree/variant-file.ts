/** `ostree show --print-variant-type=TYPE FILE`. */
import { readFileSync } from 'node:fs';
import { decode, printVariant } from '@cambium/gvariant';

/** Returns the file's value in GVariant text, its numbers as they stand. */
export function printVariantFile(type: string, path: string): string {
  return printVariant(type, decode(type, readFileSync(path)), true);
}
