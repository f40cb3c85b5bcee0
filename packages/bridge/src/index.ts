export * from './clean-repo.ts';
export { type Component, type ContentOwners, contentOf, ownersFromContentMeta } from './container/components.ts';
export { type Encapsulated, type EncapsulateEvent, type EncapsulateOptions, encapsulate } from './container/encapsulate.ts';
export * from './errors.ts';
export * from './image-commit.ts';
export * from './import-layer.ts';
export * from './layer-commit.ts';
export * from './podman-store.ts';
export * from './unused-refs.ts';
