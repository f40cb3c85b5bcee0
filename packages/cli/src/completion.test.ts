/** The shells themselves complete by the scripts that we print. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsPeer, run, scratch } from '@cambium/testkit';
import { loadCatalogue } from './catalogue.ts';
import { renderCompletion, SHELLS } from './completion.ts';

for (const shell of SHELLS) {
  test(`the ${shell} completion parses`, { skip: needsPeer(shell) }, async (t) => {
    const file = join(scratch(t), 'completion');
    writeFileSync(file, renderCompletion(shell, await loadCatalogue()));
    const { status, stderr } = spawnSync(shell, ['-n', file], { encoding: 'utf8' });
    assert.deepEqual([status, stderr], [0, '']);
  });
}

test('the bash completion completes commands, verbs and flags', { skip: needsPeer('bash') }, async () => {
  const script = renderCompletion('bash', await loadCatalogue());
  const complete = (...words: string[]): string[] => {
    const program = `${script}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }; _cambium; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', program, 'bash', ...words], { encoding: 'utf8' });
    assert.equal(stderr, '');
    return stdout.split('\n').filter((line) => line !== '');
  };
  assert.deepEqual(complete('cambium', 'un'), ['unmount']);
  assert.deepEqual(complete('cambium', 'ostree', 'rev'), ['rev-parse']);
  assert.deepEqual(complete('cambium', '-q', 'ostree', 'commit', '--own'), ['--owner-uid=', '--owner-gid=']);
  assert.deepEqual(complete('cambium', 'compose', 'config', '--form'), ['--format=']);
  assert.deepEqual(complete('cambium', 'ostree', 'remote', 'add'), ['add', 'add-cookie']);
  assert.deepEqual(complete('cambium', 'ostree', 'remote', '--repo=r', 'add', '--cont'), ['--contenturl=']);
  assert.deepEqual(complete('cambium', 'ostree', 'static-delta', 'rei'), ['reindex']);
});

test('the fish completion completes commands, verbs, flags and their values', { skip: needsPeer('fish') }, async (t) => {
  const directory = scratch(t);
  writeFileSync(join(directory, 'cambium.fish'), renderCompletion('fish', await loadCatalogue()));
  const complete = async (line: string): Promise<string[]> => {
    const { stdout, stderr } = await run('fish', ['--no-config', '--command', 'source cambium.fish; complete --do-complete $argv', line], {
      cwd: directory,
      env: { ...process.env, HOME: directory },
      timeoutMs: 60_000,
    });
    assert.equal(stderr, '');
    return stdout
      .split('\n')
      .filter((found) => found !== '')
      .map((found) => found.split('\t')[0] as string);
  };
  assert.deepEqual(await complete('cambium un'), ['unmount']);
  assert.deepEqual(await complete('cambium ostree rev'), ['rev-parse']);
  assert.deepEqual(await complete('cambium -q ostree commit --own'), ['--owner-gid', '--owner-uid']);
  assert.deepEqual(await complete('cambium compose config --format='), ['--format=json', '--format=yaml']);
});

test('the zsh completion completes commands, verbs, flags and their values', { skip: needsPeer('zsh') }, async (t) => {
  const directory = scratch(t);
  writeFileSync(join(directory, 'cambium.zsh'), renderCompletion('zsh', await loadCatalogue()));
  // An interactive zsh on a terminal of its own; Ctrl-T notes what the line has become and empties it.
  writeFileSync(
    join(directory, '.zshrc'),
    `autoload -Uz compinit && compinit -D -u
source ${join(directory, 'cambium.zsh')}
note() { print -r -- "$BUFFER" >> ${join(directory, 'lines')}; BUFFER= }
zle -N note && bindkey '^T' note && bindkey '^I' complete-word
leave() { exit }
zle -N leave && bindkey '^G' leave
PS1='READY> '
`,
  );
  const typed = ['cambium un', 'cambium ostree rev', 'cambium -q ostree commit --own', 'cambium compose config --format=y'];
  writeFileSync(
    join(directory, 'drive'),
    `zmodload zsh/zpty
zpty shell zsh -i
zpty -r shell said '*READY> *'
zpty -w -n shell "$1"
while zpty -r shell said; do :; done
cat ${join(directory, 'lines')}
`,
  );
  const { stdout } = await run('zsh', ['-f', join(directory, 'drive'), `${typed.map((line) => `${line}\t\u0014`).join('')}\u0007`], {
    cwd: directory,
    env: { PATH: process.env.PATH ?? '', HOME: directory, ZDOTDIR: directory, TERM: 'xterm', LANG: 'C.UTF-8' },
    timeoutMs: 60_000,
  });
  assert.deepEqual(
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.trimEnd()),
    ['cambium unmount', 'cambium ostree rev-parse', 'cambium -q ostree commit --owner-', 'cambium compose config --format=yaml'],
  );
});
