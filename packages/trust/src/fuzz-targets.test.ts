/** What is fuzzed here, and from which real keys and signatures: see `npm run fuzz`. No tests. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type FuzzTarget, mutateBytes, run, scratchDirectory, textMutation } from '@cambium/testkit';
import { listOpenPgpKeys, parseKeys } from './gpg-keys.ts';
import { parseKeyExpiry, parseSignatureStatus } from './gpg-status.ts';
import { verifyDetachedWithGpg } from './gpg-verify.ts';
import { splitPackets } from './packets.ts';
import { rawSignatureEngine } from './raw-signature.ts';

const DATA = 'the bytes of a commit';

export async function makeCorpus(directory: string): Promise<void> {
  const home = scratchDirectory('cg-');
  const put = (kind: string, name: string, bytes: string | Uint8Array): void => {
    mkdirSync(join(directory, kind), { recursive: true });
    writeFileSync(join(directory, kind, name), bytes);
  };
  const gpg = async (input: string, ...args: string[]): Promise<Buffer> =>
    (await run('gpg', ['--homedir', home, '--batch', '--quiet', '--no-tty', '--pinentry-mode', 'loopback', '--passphrase', '', ...args], { input }))
      .stdoutBytes;
  try {
    for (const [user, algorithm, expiry] of [
      ['Édith (release) <ed@example.org>', 'ed25519', 'never'],
      ['Rita <rsa@example.org>', 'rsa2048', '2099-12-31'],
    ] as const)
      await gpg('', '--quick-generate-key', user, algorithm, 'sign', expiry);
    put('keyring', 'binary', await gpg('', '--export'));
    put('keyring', 'armored', await gpg('', '--armor', '--export', 'ed@example.org'));
    put('keyring', 'keybox', readFileSync(join(home, 'pubring.kbx')));
    put('listing', 'keys', await gpg('', '--with-colons', '--with-subkey-fingerprint', '--fixed-list-mode', '--list-keys'));
    const both = await gpg(DATA, '--local-user', 'ed@example.org', '--local-user', 'rsa@example.org', '--detach-sign');
    put('signature', 'both', both);
    put('signature', 'one', await gpg(DATA, '--local-user', 'ed@example.org', '--detach-sign'));
    put('signature', 'armored', await gpg(DATA, '--local-user', 'ed@example.org', '--armor', '--detach-sign'));
    for (const [name, text] of [
      ['good', DATA],
      ['bad', 'other bytes'],
    ] as const) {
      writeFileSync(join(home, 'data'), text);
      const args = ['--homedir', home, '--batch', '--quiet', '--status-fd', '1', '--verify', join(directory, 'signature', 'one'), join(home, 'data')];
      put('status', name, (await run('gpg', args, { accept: [0, 1] })).stdout.replaceAll('[GNUPG:] ', ''));
    }
  } finally {
    await run('gpgconf', ['--homedir', home, '--kill', 'all'], { accept: 'any' });
    await run('rm', ['-rf', home]);
  }
  const spki = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const publicPem = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();
  put('spki', 'public', publicPem(spki.publicKey));
  put('spki', 'two', `# comment\n${publicPem(spki.publicKey)}${publicPem(generateKeyPairSync('ed25519').publicKey)}`);
  put('spki-secret', 'one', spki.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  // RFC 8032, section 7.1, test 2.
  const [seed, publicKey] = [
    '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
  ];
  const text = Buffer.from(publicKey, 'hex').toString('base64');
  put('ed25519', 'two', `${text}\r\n\n${text}\n`);
  put('ed25519-secret', 'one', `${Buffer.from(seed + publicKey, 'hex').toString('base64')}\n`);
}

/** Changes the length of a packet and what is in it. */
const PACKET_BYTES = ['\x88', '\xc2', '\x99', '\x8b', '\xc2\xff\xff\xff\xff\xff', '\x8a\xff\xff\xff\xff', '\xc2\xe0'].map((text) =>
  Buffer.from(text, 'latin1'),
);

export function fuzzTargets(corpus: string): FuzzTarget[] {
  const seeds = (kind: string): Buffer[] => readdirSync(join(corpus, kind)).map((name) => readFileSync(join(corpus, kind, name)));
  const keyring = join(corpus, 'keyring', 'binary');
  const rawKeys = (type: 'ed25519' | 'spki') => (input: Uint8Array) =>
    rawSignatureEngine(type)
      .publicKeys(input, 'keys')
      .map((key) => key.verify(Buffer.from(DATA), input.subarray(0, 64)));
  const PEM = ['-----BEGIN PUBLIC KEY-----', '-----END PUBLIC KEY-----', '-----BEGIN PRIVATE KEY-----', '-----BEGIN CERTIFICATE-----', '=', 'AAAA'];
  return [
    {
      name: 'gpg-packets',
      seeds: [...seeds('signature'), ...seeds('keyring')],
      dictionary: PACKET_BYTES,
      parse: (input) => {
        const packets = splitPackets(input);
        if (Buffer.compare(Buffer.concat(packets.map(({ bytes }) => bytes)), input) !== 0) throw new Error('the packets are not the input');
        return packets.map(({ tag }) => tag);
      },
    },
    {
      name: 'gpg-key-listing',
      seeds: seeds('listing'),
      mutate: textMutation([':', 'pub:', 'sub:', 'uid:', 'fpr:', '\\x3a', '\\xff', '<', '>', '@', '<a@b>', '::::::']),
      parse: (input) => [parseKeys(input), parseKeyExpiry(Buffer.from(input).toString('utf8')).size],
    },
    {
      name: 'gpg-status',
      seeds: seeds('status'),
      mutate: textMutation(['GOODSIG ', 'BADSIG ', 'VALIDSIG ', 'ERRSIG ', 'EXPKEYSIG ', 'REVKEYSIG ', 'KEYEXPIRED ', '%0A', '%', '%zz', 'NOTATION_DATA ']),
      parse: (input) => parseSignatureStatus(Buffer.from(input).toString('utf8').split('\n')),
    },
    { name: 'ed25519-keys', seeds: seeds('ed25519'), mutate: textMutation(['=', 'AAAA', '+', '/']), parse: rawKeys('ed25519') },
    {
      name: 'ed25519-secret-keys',
      seeds: seeds('ed25519-secret'),
      mutate: textMutation(['=', 'AAAA']),
      parse: (input) => rawSignatureEngine('ed25519').secretKeys(input, 'keys').length,
    },
    { name: 'spki-keys', seeds: seeds('spki'), mutate: textMutation(PEM), parse: rawKeys('spki') },
    {
      name: 'spki-secret-keys',
      seeds: seeds('spki-secret'),
      mutate: textMutation(PEM),
      parse: (input) => rawSignatureEngine('spki').secretKeys(input, 'keys').length,
    },
    // What gpg itself makes of it, told in our codes. A process or more for each input.
    {
      name: 'gpg-keyring',
      seeds: seeds('keyring'),
      mutate: (input, random) => mutateBytes(input, random, { maxBytes: 1 << 16, dictionary: PACKET_BYTES }),
      parse: async (input) => (await listOpenPgpKeys({ keyrings: [input] })).length,
    },
    {
      name: 'gpg-signature',
      seeds: seeds('signature'),
      mutate: (input, random) => mutateBytes(input, random, { maxBytes: 1 << 16, dictionary: PACKET_BYTES }),
      parse: async (input) => {
        const found = await verifyDetachedWithGpg({ data: Buffer.from(DATA), signature: input, keys: { keyrings: [keyring] } });
        const whole = seeds('signature').some((seed) => seed.equals(input));
        return [found.map(({ valid }) => valid), whole];
      },
    },
  ];
}
