export * from './errors.ts';
export { type FileContexts, type FileContextsSource, parseFileContexts } from './file-contexts.ts';
export { FileLabels } from './file-labels.ts';
export { parsePolicyConfig } from './policy-config.ts';
