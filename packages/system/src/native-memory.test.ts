import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

test('glibc takes the setting, others are left alone', () => {
  // In a process of its own, because it holds for the rest of it.
  const script = `import { boundNativeMemory } from ${JSON.stringify(new URL('./index.js', import.meta.url).href)}; console.log(boundNativeMemory());`;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' });
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  assert.equal(stdout, `${header.glibcVersionRuntime !== undefined}\n`);
});
