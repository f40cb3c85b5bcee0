export * from './errors.ts';
export { type FreeSpace, freeSpace, makeNode, renameNoReplace, startWriteOut, syncFs } from './files.ts';
export * from './locks.ts';
export { reach, withReach } from './long-paths.ts';
export { type Capability, hasCapability, inUserNamespace } from './namespaces.ts';
export { boundNativeMemory } from './native-memory.ts';
export { shareBlocks } from './share-blocks.ts';
export * from './xattrs.ts';
