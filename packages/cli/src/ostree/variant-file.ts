/** `ostree show --print-variant-type=TYPE FILE`. */
import { readFileSync } from 'node:fs';
import { decode } from '@cambium/gvariant';
import { formatMetadataValue } from '@cambium/ostree';

/** Returns the file's value in GVariant text, its numbers in the other byte order: libostree does not ask `--no-byteswap` here. */
export function printVariantFile(type: string, path: string): string {
  return formatMetadataValue({ type, value: decode(type, readFileSync(path)) });
}
