import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';

const index = new URL('./index.js', import.meta.url).href;

/** Runs code in a process in which `koffi` cannot be found. */
function withoutKoffi(code: string): string {
  const setup = `
    const Module = require('node:module');
    const resolve = Module._resolveFilename;
    Module._resolveFilename = function (name, ...rest) {
      if (name === 'koffi') throw Object.assign(new Error('no koffi'), { code: 'MODULE_NOT_FOUND' });
      return resolve.call(this, name, ...rest);
    };
    import(${JSON.stringify(index)}).then((system) => { ${code} }).catch((error) => console.log(JSON.stringify(error)));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', setup], { encoding: 'utf8' });
  assert.equal(stderr, '');
  return stdout.trim();
}

test('a missing native library is a known error at the first call, not at import', () => {
  assert.equal(withoutKoffi('console.log(typeof system.readXattrs)'), 'function');
  const error = JSON.parse(withoutKoffi('system.readXattrs("/tmp")')) as Record<string, unknown>;
  assert.equal(error.code, 'SYSTEM_NATIVE_MISSING');
  assert.equal(error.kind, 'environment');
  assert.match(String(error.hint), /optional/);
});

test('the library loads here', async () => {
  const { readXattrs } = await import('./xattrs.ts');
  try {
    readXattrs('/nonexistent');
    assert.fail('an error was expected');
  } catch (error) {
    assert.equal(isKnownError(error), false);
  }
});
