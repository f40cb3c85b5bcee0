/** Colours on a real terminal: `script` runs the command on one of its own and prints what it shows. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { needsPeer, peer, run, scratch } from '@cambium/testkit';

const LAUNCHER = fileURLToPath(new URL('../bin/cambium.js', import.meta.url));
const ESCAPE = '\u001b[';

/** What each is seen to write, and on which stream it does. */
const WRITERS: { args: string; stream: 'stdout' | 'stderr'; coloured: string; plain: string }[] = [
  { args: 'completion tcsh', stream: 'stderr', coloured: '\u001b[31merror:\u001b[39m Cannot', plain: 'error: Cannot' },
  { args: 'ostree nothing', stream: 'stderr', coloured: '\u001b[31m\u001b[1merror:', plain: "error: Unknown command 'nothing'" },
  { args: 'doctor', stream: 'stdout', coloured: '\u001b[32mok      \u001b[39m', plain: 'ok      ' },
];

async function onTerminal(directory: string, command: string, variables: Record<string, string>): Promise<string> {
  const { stdout } = await run(peer('script')?.path ?? 'script', ['--quiet', '--command', command, '/dev/null'], {
    cwd: directory,
    accept: 'any',
    timeoutMs: 60_000,
    // Nothing is installed on this PATH but the shell, so that `doctor` asks no program.
    env: { PATH: directory, HOME: directory, SHELL: '/bin/sh', TERM: 'xterm-256color', CAMBIUM: LAUNCHER, NODE: process.execPath, ...variables },
  });
  return stdout;
}

for (const { args, stream, coloured, plain } of WRITERS) {
  const command = `"$NODE" "$CAMBIUM" ${args}`;
  const other = stream === 'stdout' ? '2>/dev/null' : '>/dev/null';
  const piped = stream === 'stdout' ? '| while IFS= read -r line; do echo "$line"; done' : '2>&1 >/dev/null | while IFS= read -r line; do echo "$line"; done';

  test(`colours of cambium ${args}: on a terminal, not with NO_COLOR, not on a dumb one, not into a pipe`, { skip: needsPeer('script') }, async (t) => {
    const directory = scratch(t);
    const shows = async (what: string, variables: Record<string, string>, wanted: boolean): Promise<void> => {
      const text = await onTerminal(directory, what, variables);
      assert.ok(text.includes(wanted ? coloured : plain), JSON.stringify(text));
      assert.equal(text.includes(ESCAPE), wanted, JSON.stringify(text));
    };
    await shows(command, {}, true);
    // An empty value is as none: no-color.org.
    await shows(command, { NO_COLOR: '' }, true);
    await shows(`${command} ${other}`, {}, true);
    await shows(command, { NO_COLOR: '1' }, false);
    await shows(command, { NO_COLOR: '0' }, false);
    await shows(command, { TERM: 'dumb' }, false);
    await shows(`${command} ${piped}`, {}, false);
  });
}
