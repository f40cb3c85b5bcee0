/** The quick scripts of libostree's own suite; all of them run with `npm run conformance`. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { firstReason, needsPeer, run } from '@cambium/testkit';

const RUNNER = fileURLToPath(new URL('../../../../scripts/conformance.mjs', import.meta.url));
const SUITE = '/usr/libexec/installed-tests/libostree/libtest.sh';

const needsSuite = existsSync(SUITE) ? false : "not installed: libostree's test suite (Debian: ostree-tests)";

test('quick scripts of libostree’s own suite', { skip: firstReason(needsSuite, needsPeer('bash', 'setfattr', 'gpg', 'python3', 'cpio')) }, async () => {
  const { status, stdout, stderr } = await run(process.execPath, [RUNNER, '--fast'], { accept: 'any' });
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /^(\d+) of \1 scripts pass$/m);
});
