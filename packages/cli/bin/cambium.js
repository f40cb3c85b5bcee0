#!/usr/bin/env -S node --max-semi-space-size=1
// A small young generation: buffers outside the heap are freed when it is collected, so often is better than rarely.
// Packing three images then needs 60 MB less, and less time.
//
// The launcher: the one file that must run on any Node, so that an old one gets a sentence and not a syntax error.
import { readFileSync } from 'node:fs';
import module from 'node:module';
import v8 from 'node:v8';

const MINIMUM_NODE = 24;

if (Number.parseInt(process.versions.node, 10) < MINIMUM_NODE) {
  process.stderr.write(
    `error: cambium needs Node ${MINIMUM_NODE} or newer; this is Node ${process.versions.node} (${process.execPath})\n` +
      'hint: inside the workspace use `npx cambium`, which finds the right Node; elsewhere install Node 24, or: npm install --global node@24\n',
  );
  process.exitCode = 11;
} else if (process.argv.length === 3 && process.argv[2] === '--version') {
  // Answered before anything else is loaded: scripts ask for it often.
  process.stdout.write(`cambium ${JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version}\n`);
} else {
  // A compilation that runs beside the main thread when the process ends can keep it from ending: nodejs/node#54918.
  v8.setFlagsFromString('--no-concurrent-sparkplug');
  module.enableCompileCache();
  const { main } = await import('../dist/main.js');
  await main(process.argv);
}
