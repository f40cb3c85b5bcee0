export * from './variant.ts';
