import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { acquireOfdLock, ofdLock } from './locks.ts';

const hasPython = spawnSync('python3', ['-c', 'import fcntl']).status === 0;
const hasOstree = spawnSync('ostree', ['--version']).status === 0;

/** Takes the lock named by its first argument, says so, and holds it until its input ends. */
const HOLDER = `
import fcntl, struct, sys
f = open(sys.argv[1], 'r+')
kind = {'shared': fcntl.F_RDLCK, 'exclusive': fcntl.F_WRLCK}[sys.argv[2]]
fcntl.fcntl(f, 37, struct.pack('hhxxxxqqixxxx', kind, 0, 0, 0, 0))
print('held', flush=True)
sys.stdin.read()
`;

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'cambium-lock-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

function opened(name: string, run: (first: number, second: number) => void): void {
  const path = join(folder, name);
  const first = openSync(path, 'w+');
  const second = openSync(path, 'r+');
  try {
    run(first, second);
  } finally {
    closeSync(first);
    closeSync(second);
  }
}

test('exclusive excludes all, shared only exclusive, also inside one process', () => {
  opened('kinds', (first, second) => {
    assert.equal(ofdLock(first, 'shared', { wait: false }), true);
    assert.equal(ofdLock(second, 'shared', { wait: false }), true);
    assert.equal(ofdLock(second, 'exclusive', { wait: false }), false);
    assert.equal(ofdLock(first, 'unlock', { wait: false }), true);
    assert.equal(ofdLock(second, 'exclusive', { wait: true }), true);
    assert.equal(ofdLock(first, 'shared', { wait: false }), false);
    assert.equal(ofdLock(second, 'shared', { wait: false }), true);
    assert.equal(ofdLock(first, 'shared', { wait: false }), true);
  });
});

test('closing the descriptor releases', () => {
  const path = join(folder, 'close');
  const first = openSync(path, 'w+');
  const second = openSync(path, 'r+');
  assert.equal(ofdLock(first, 'exclusive', { wait: false }), true);
  assert.equal(ofdLock(second, 'exclusive', { wait: false }), false);
  closeSync(first);
  assert.equal(ofdLock(second, 'exclusive', { wait: false }), true);
  closeSync(second);
});

test('a descriptor opened the wrong way is an error of the system', () => {
  const fd = openSync('/dev/null', 'r');
  try {
    assert.throws(() => ofdLock(fd, 'exclusive', { wait: false }), { code: 'EBADF', syscall: 'fcntl' });
  } finally {
    closeSync(fd);
  }
});

for (const [theirs, ours, free] of [
  ['exclusive', 'shared', false],
  ['shared', 'exclusive', false],
  ['shared', 'shared', true],
] as const) {
  test(`another process holding ${theirs}: ${ours} ${free ? 'is free' : 'waits'}`, hasPython ? {} : { skip: 'python3 is not installed' }, async () => {
    const path = join(folder, `${theirs}-${ours}`);
    const fd = openSync(path, 'w+');
    const holder = spawn('python3', ['-c', HOLDER, path, theirs], { stdio: ['pipe', 'pipe', 'inherit'] });
    const ended = once(holder, 'close');
    try {
      const first = await Promise.race([once(holder.stdout, 'data'), ended]);
      assert.match(String(first[0]), /^held/);
      assert.equal(ofdLock(fd, ours, { wait: false }), free);
      const taken = acquireOfdLock(fd, ours, { pollMs: 5 });
      holder.stdin.end();
      await taken;
      await ended;
      assert.equal(ofdLock(fd, 'exclusive', { wait: false }), true);
    } finally {
      holder.kill();
      closeSync(fd);
    }
  });
}

test('waiting ends with the time or the signal', async () => {
  const path = join(folder, 'wait');
  const first = openSync(path, 'w+');
  const second = openSync(path, 'r+');
  try {
    ofdLock(first, 'exclusive', { wait: false });
    await assert.rejects(acquireOfdLock(second, 'shared', { timeoutMs: 0 }), { code: 'SYSTEM_LOCK_TIMEOUT', retryable: true });
    await assert.rejects(acquireOfdLock(second, 'shared', { timeoutMs: 20, pollMs: 5, what: 'repo' }), {
      message: 'Cannot lock repo: another process holds it',
    });
    const reason = new Error('enough');
    const controller = new AbortController();
    const waiting = acquireOfdLock(second, 'shared', { signal: controller.signal });
    controller.abort(reason);
    await assert.rejects(waiting, (error) => error === reason);
  } finally {
    closeSync(first);
    closeSync(second);
  }
});

test('ostree respects the lock', hasOstree ? {} : { skip: 'ostree is not installed' }, () => {
  const repo = join(folder, 'repo');
  execFileSync('ostree', ['init', `--repo=${repo}`, '--mode=archive']);
  execFileSync('ostree', [`--repo=${repo}`, 'config', 'set', 'core.lock-timeout-secs', '0']);
  const fd = openSync(join(repo, '.lock'), 'w+');
  try {
    assert.equal(ofdLock(fd, 'shared', { wait: false }), true);
    const blocked = spawnSync('ostree', [`--repo=${repo}`, 'prune'], { encoding: 'utf8' });
    assert.equal(blocked.status, 1);
    assert.match(blocked.stderr, /[Ll]ock/);
    ofdLock(fd, 'unlock', { wait: false });
    assert.equal(spawnSync('ostree', [`--repo=${repo}`, 'prune']).status, 0);
  } finally {
    closeSync(fd);
  }
});
