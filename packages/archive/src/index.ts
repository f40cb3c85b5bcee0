export * from './decompress.ts';
export { COMPRESSION_HEAD_BYTES, type Compression, detectCompression } from './detect-compression.ts';
export * from './errors.ts';
export * from './tar-entry.ts';
export { type TarHandler, TarParser } from './tar-parser.ts';
