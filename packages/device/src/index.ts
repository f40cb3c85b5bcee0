export * from './errors.ts';
export * from './storage-conf.ts';
