/** What is fuzzed here, and from which real values: see `npm run fuzz`. No tests. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type FuzzTarget, textMutation } from '@cambium/testkit';
import { Automaton } from './automaton.ts';
import { parseFileContexts } from './file-contexts.ts';
import { FileLabels } from './file-labels.ts';
import { parsePolicyConfig } from './policy-config.ts';

/** Lines of the policies of Debian 12 and Fedora 40. */
const CONTEXTS = [
  '/.*\tsystem_u:object_r:default_t:s0\n/usr/(.*/)?bin(/.*)?\tsystem_u:object_r:bin_t:s0\n/usr/lib/[^/]*/run-mozilla\\.sh\t--\tsystem_u:object_r:bin_t:s0\n',
  '/dev/[0-9].*\t-c\tsystem_u:object_r:usb_device_t:s0\n/dev/(misc/)?agpgart\t-c\tsystem_u:object_r:agp_device_t:s0\n/lost\\+found/.*\t<<none>>\n',
  '/usr/(.*/)?lib(/.*)?/lib.*\\.so(\\.[^/]*)*\t--\tsystem_u:object_r:lib_t:s0\n/etc/\\.pwd\\.lock.*\t--\tsystem_u:object_r:shadow_t:s0\n# end\n',
  '/home/[^/]+/\\.fonts\\.cache-.*\t--\tuser_u:object_r:user_fonts_cache_t:s0\n/tmp/(gconfd-.*|\\.X[0-9]-lock)\t-s\tx:y:z:s0-s0:c0.c1023\n',
];
const PATTERNS = ['/dev/[mhs]d[a-z]{1,2}\\d*', '(/.*)?|[]a-z[:digit:]^-]+?$', '/a(?:b|c(d|)){2,3}\\w\\x41\\.\\-', '(a*)*b', '[^\\d/-]{,2}.{0}(|x){3}'];
const CONFIGS = ['SELINUX=enforcing\nSELINUXTYPE=targeted\n', '# comment\nSELINUX=permissive\nSELINUXTYPE=default\n\nSETLOCALDEFS=0\n'];
const PATHS = ['/', '/usr/bin/ls', '/usr/lib/liba.so.1', '/dev/sda1', '/home/a/.fonts.cache-1', '/tmp/.X0-lock', '/é\n'];

export function makeCorpus(directory: string): Promise<void> {
  for (const [kind, texts] of Object.entries({ contexts: CONTEXTS, patterns: PATTERNS, configs: CONFIGS })) {
    mkdirSync(join(directory, kind));
    for (const [i, text] of texts.entries()) writeFileSync(join(directory, kind, String(i)), text);
  }
  return Promise.resolve();
}

export function fuzzTargets(corpus: string): FuzzTarget[] {
  const seeds = (kind: string): Buffer[] => readdirSync(join(corpus, kind)).map((name) => readFileSync(join(corpus, kind, name)));
  return [
    {
      name: 'file-contexts',
      seeds: seeds('contexts'),
      mutate: textMutation(),
      dictionary: ['--', '-d', '<<none>>', '(/.*)?', '[^/]+', '\\.', '{1,9}', '|', '\t', '\n/usr/'],
      maxBytes: 4096,
      parse: (input) => {
        const half = Math.floor(input.byteLength / 2);
        const labels = new FileLabels(parseFileContexts({ fileContexts: input, subs: input.subarray(half), subsDist: input.subarray(0, half) }));
        return PATHS.map((path) => labels.labelOf(path, 0o100644));
      },
    },
    {
      name: 'file-context-pattern',
      seeds: seeds('patterns'),
      mutate: textMutation(),
      dictionary: ['(', ')', '(?:', '[', ']', '[:alpha:]', '{2,}', '{65535}', '*', '+?', '|', '^', '$', '\\z', '\\x0', '\\'],
      maxBytes: 512,
      parse: (input) => {
        const automaton = new Automaton();
        automaton.add(Buffer.from(input).toString('latin1'), 1);
        return ['', 'a'.repeat(2000), `/${'ab'.repeat(500)}\n`].map((text) => automaton.matches(text));
      },
    },
    {
      name: 'selinux-config',
      seeds: seeds('configs'),
      mutate: textMutation(),
      dictionary: ['SELINUX=', 'SELINUXTYPE='],
      maxBytes: 1024,
      parse: parsePolicyConfig,
    },
  ];
}
