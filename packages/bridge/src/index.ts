export * from './clean-repo.ts';
export * from './errors.ts';
export * from './image-commit.ts';
export * from './import-layer.ts';
export * from './layer-commit.ts';
export * from './podman-store.ts';
export * from './unused-refs.ts';
