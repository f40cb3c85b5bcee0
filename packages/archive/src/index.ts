export * from './errors.ts';
export * from './tar-entry.ts';
export { type TarHandler, TarParser } from './tar-parser.ts';
