export * from './entry.ts';
export * from './errors.ts';
export * from './safe-path.ts';
export * from './squash.ts';
export * from './walk-directory.ts';
export * from './whiteout.ts';
