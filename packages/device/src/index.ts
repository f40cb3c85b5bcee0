export * from './errors.ts';
export * from './mount.ts';
export * from './podman.ts';
export * from './state.ts';
export * from './storage-conf.ts';
export * from './storage-conf-file.ts';
export * from './unmount.ts';
