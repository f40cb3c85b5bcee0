/** Writes the generated pages: `npm run docs`. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorTables, exitStatuses, renderErrorDocument } from './error-documents.ts';
import { WORKSPACE } from './workspace.ts';

mkdirSync(join(WORKSPACE, 'docs'), { recursive: true });
writeFileSync(join(WORKSPACE, 'docs/errors.md'), renderErrorDocument(await errorTables(), await exitStatuses()));
