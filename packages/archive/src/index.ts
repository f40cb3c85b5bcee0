export { CPIO_MAGIC_BYTES, CpioParser, isCpio } from './cpio-parser.ts';
export * from './decompress.ts';
export { COMPRESSION_HEAD_BYTES, type Compression, detectCompression } from './detect-compression.ts';
export * from './errors.ts';
export { gzipParallel } from './gzip-parallel.ts';
export { decompressAny, sniffCompression } from './sniff.ts';
export {
  MAX_ENTRIES,
  MAX_HOLE_BYTES,
  MAX_PATH_BYTES,
  MAX_PAX_BYTES,
  MAX_SPARSE_EXTENTS,
  MAX_TOTAL_BYTES,
  MAX_XATTR_VALUE_BYTES,
  MAX_XATTRS,
  type TarEntry,
  type TarLimits,
  type TarType,
  type TarXattr,
} from './tar-entry.ts';
export * from './tar-index.ts';
export { type TarHandler, TarParser } from './tar-parser.ts';
export { readTar, type TarFile } from './tar-reader.ts';
export * from './tar-writer.ts';
export { compressXz, decompressXz, decompressXzAside } from './xz.ts';
export { XzWriter } from './xz-writer.ts';
