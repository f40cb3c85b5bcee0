import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { hasCapability, hasCapabilityBit, inUserNamespace, isMapped } from './namespaces.ts';

test('maps other than the identity are a namespace', () => {
  assert.equal(isMapped('         0          0 4294967295\n'), false);
  assert.equal(isMapped('         0       1000          1\n'), true);
  assert.equal(isMapped('         0       1000          1\n         1     100000      65536\n'), true);
  assert.equal(isMapped(''), true);
  assert.equal(isMapped(undefined), false);
});

test('capability bits', () => {
  const status = 'Name:\tnode\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\nCapBnd:\t0000000000000000\n';
  assert.equal(hasCapabilityBit(status, 27), true);
  assert.equal(hasCapabilityBit(status, 41), false);
  assert.equal(hasCapabilityBit('CapEff:\t0000000008000000\n', 27), true);
  assert.equal(hasCapabilityBit('CapEff:\t0000000008000000\n', 0), false);
  assert.equal(hasCapabilityBit(undefined, 0), false);
});

const mayUnshare = spawnSync('unshare', ['--user', '--map-root-user', 'true']).status === 0;

test('a process inside unshare --user knows', mayUnshare ? {} : { skip: 'unshare --user does not work here' }, () => {
  const code = `import(${JSON.stringify(new URL('./namespaces.js', import.meta.url).href)}).then((m) => console.log(m.inUserNamespace(), m.hasCapability('CAP_MKNOD')))`;
  const { stdout } = spawnSync('unshare', ['--user', '--map-root-user', process.execPath, '-e', code], { encoding: 'utf8' });
  assert.equal(stdout, 'true true\n');
});

test('both answer here', () => {
  assert.equal(typeof inUserNamespace(), 'boolean');
  assert.equal(typeof hasCapability('CAP_CHOWN'), 'boolean');
});
