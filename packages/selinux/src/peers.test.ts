/** libselinux's own `matchpathcon` gives the same labels. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { firstReason, needsPeer, peer, Random, run, scratch } from '@cambium/testkit';
import { type FileContexts, parseFileContexts } from './file-contexts.ts';
import { FileLabels } from './file-labels.ts';
import { parsePattern } from './pattern.ts';
import { randomPattern, textFor } from './sample-texts.test.ts';

/** Debian's policy, as its package installs it. */
const POLICY = '/etc/selinux/default/contexts/files/file_contexts';
const needsPolicy = (): string | false => (existsSync(POLICY) ? false : 'not installed: selinux-policy-default');

const LETTERS: Readonly<Record<string, number>> = { f: 0o100000, d: 0o040000, l: 0o120000, c: 0o020000, b: 0o060000, p: 0o010000, s: 0o140000 };
/** Arguments of a program have a limit. */
const AT_ONCE = 1500;

/** Returns what libselinux says: a label, `<<none>>`, or undefined where it fails. */
async function peerLabels(file: string, letter: string, paths: readonly string[]): Promise<(string | undefined)[]> {
  const labels: (string | undefined)[] = [];
  for (let from = 0; from < paths.length; from += AT_ONCE) {
    const some = paths.slice(from, from + AT_ONCE);
    const { stdout } = await run(peer('matchpathcon')?.path as string, ['-N', '-m', letter, '-f', file, '--', ...some], { accept: [0, 1, 255] });
    let at = 0;
    for (const path of some) {
      const expected = `${path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path}\t`;
      if (!stdout.startsWith(expected, at)) {
        labels.push(undefined);
        continue;
      }
      const end = stdout.indexOf('\n', at + expected.length);
      labels.push(stdout.slice(at + expected.length, end));
      at = end + 1;
    }
    assert.equal(at, stdout.length, 'every line is understood');
  }
  return labels;
}

function ourLabels(contexts: FileContexts, letter: string, paths: readonly string[]): (string | undefined)[] {
  const labels = new FileLabels(contexts);
  return paths.map((path) => {
    try {
      return labels.labelOf(path, LETTERS[letter] as number) ?? '<<none>>';
    } catch (error) {
      assert.match((error as { code: string }).code, /^SELINUX_PATTERN_/);
      return undefined;
    }
  });
}

function read(file: string): FileContexts {
  const part = (suffix: string): Uint8Array | undefined => (existsSync(file + suffix) ? readFileSync(file + suffix) : undefined);
  return parseFileContexts({
    fileContexts: readFileSync(file),
    homedirs: part('.homedirs'),
    local: part('.local'),
    subs: part('.subs'),
    subsDist: part('.subs_dist'),
  });
}

test("Debian's policy: paths made from its own patterns, of every file type", { skip: firstReason(needsPeer('matchpathcon'), needsPolicy()) }, async () => {
  const contexts = read(POLICY);
  assert.ok(contexts.specs.length > 5000, `${contexts.specs.length} contexts`);
  const random = new Random(1, 'policy');
  const paths = contexts.specs
    .flatMap(({ pattern }) => [textFor(pattern, random), textFor(pattern, random)])
    .filter((path) => !path.includes('\0') && path !== '');
  const seen = new Set<string | undefined>();
  for (const letter of Object.keys(LETTERS)) {
    const some = paths.filter((_, i) => letter === 'f' || i % 7 === (LETTERS[letter] as number) % 7);
    const [theirs, ours] = [await peerLabels(POLICY, letter, some), ourLabels(contexts, letter, some)];
    for (const [i, path] of some.entries()) assert.equal(ours[i], theirs[i], `${path} (${letter})`);
    for (const label of theirs) seen.add(label);
  }
  assert.ok(seen.size > 500, `${seen.size} labels were met`);
});

/** Where one pattern is broken no label is found, so that most rounds have none. */
function usable(pattern: string, mayBeBroken: boolean): string {
  try {
    parsePattern(pattern);
    return pattern;
  } catch {
    return mayBeBroken ? pattern : '/[ab.]+/?b*';
  }
}

test('random patterns, substitutions and files', { skip: needsPeer('matchpathcon') }, async (t) => {
  const directory = scratch(t);
  const random = new Random(7, 'patterns');
  let decided = 0;
  let failed = 0;
  for (let round = 0; round < 60; round++) {
    const file = join(directory, `contexts${round}`);
    const patterns = Array.from({ length: 24 }, () => usable(randomPattern(random) || '/', round % 6 === 0));
    const lines = patterns.map((pattern, i) => [
      pattern,
      ...(random.oneIn(3) ? [random.pick(['--', '-d', '-l', '-c', '-b', '-p', '-s'])] : []),
      random.oneIn(9) ? '<<none>>' : `label${i}`,
    ]);
    const text = lines
      .map((fields) => random.pick(['', ' ', '\t']) + fields.join(random.pick([' ', '\t', ' \t '])))
      .map((line, i) => line + random.pick(['', '', ' ', '\r', lines[i]?.length === 3 ? ' rest' : '']));
    text.splice(random.below(text.length), 0, '# comment', '', '  ');
    const cuts = [random.below(text.length), random.below(text.length)].sort((a, b) => a - b) as [number, number];
    writeFileSync(file, `${text.slice(0, cuts[0]).join('\n')}\n/zz first\n`);
    writeFileSync(`${file}.homedirs`, `${text.slice(cuts[0], cuts[1]).join('\n')}\n`);
    writeFileSync(`${file}.local`, text.slice(cuts[1]).join('\n'));
    writeFileSync(`${file}.subs`, '#no\n/b /a\n/sub /\n /a/b\t/b/a  x\n');
    writeFileSync(`${file}.subs_dist`, '/dist /a\n/a/. /b\n/dist/b /b\n/only\n');
    const contexts = read(file);
    const paths = patterns.flatMap((pattern) => [textFor(pattern, random), textFor(pattern, random), textFor(pattern, random)]);
    const chosen = paths
      .map((path) => random.pick(['', '', '', '', '', '/sub', '/dist', '/']) + path + random.pick(['', '', '', '', '', '', '\n', '/b', '/']))
      .filter((path) => path !== '' && !path.includes('\0'));
    const letter = random.pick(Object.keys(LETTERS));
    const [theirs, ours] = [await peerLabels(file, letter, chosen), ourLabels(contexts, letter, chosen)];
    for (const [i, path] of chosen.entries()) {
      // After a pattern that it cannot use libselinux reports whatever error was there before.
      if (ours[i] === undefined) failed++;
      else assert.equal(ours[i], theirs[i], `round ${round}, ${JSON.stringify(path)} (${letter}) with\n${text.join('\n')}`);
      if (ours[i]?.startsWith('label') === true) decided++;
    }
  }
  assert.ok(decided > 1000 && failed > 10, `${decided} labels, ${failed} failures`);
});
