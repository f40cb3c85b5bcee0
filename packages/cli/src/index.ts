export { EXIT_CODES } from './exit-codes.ts';
export { execute, type Invocation, main } from './main.ts';
export { COMMAND_TREE } from './tree.ts';
