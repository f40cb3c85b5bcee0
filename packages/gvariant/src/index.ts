export * from './byteswap.ts';
export * from './codec.ts';
export * from './errors.ts';
export * from './parse-text.ts';
export * from './print.ts';
export * from './swap.ts';
export { MAX_DEPTH, parseType, type VariantType } from './type.ts';
export * from './variant.ts';
