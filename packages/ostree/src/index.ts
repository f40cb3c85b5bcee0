export type * from './content-writer.ts';
export type * from './types.ts';
