/** What is fuzzed of answers: of servers over HTTP, stores, sftp, and of files that others may have written into a repository. No tests. */
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { type Checksum, isKnownError } from '@cambium/base';
import { createTransport, type Transport } from '@cambium/http';
import { type FuzzTarget, textMutation } from '@cambium/testkit';
import { fileIdentity } from './check/fsck-content.ts';
import { openFsckRecord } from './check/fsck-record.ts';
import { parseFilezHeader } from './format/object-format.ts';
import { childrenOf, textOf } from './format/xml.ts';
import { sftpTarget } from './publish/push-sftp.ts';
import { parseAnswer } from './publish/s3-answer.ts';
import { unpackFilez } from './repo/object-reader.ts';
import { Repo } from './repo/repo.ts';

/** What a pull unpacks in one piece; larger ones go through files. */
const UNPACKED_BYTES = 1 << 20;
const BODY_BYTES = 1 << 16;

export function answerTargets(corpus: string, filez: readonly Uint8Array[]): FuzzTarget[] {
  return [
    ...httpTargets(),
    {
      name: 's3-answers',
      seeds: [LISTING, UPLOADS, FAILURE].map((document) => Buffer.from(document)),
      mutate: textMutation([
        '<',
        '>',
        '/>',
        '</Key>',
        '<Key>',
        '<Contents>',
        '&amp;',
        '&#0;',
        '&#x110000;',
        '<!--',
        '-->',
        '<![CDATA[',
        ']]>',
        '<?',
        '?>',
        '"',
        '\0',
      ]),
      parse: (input) => {
        const answer = parseAnswer(input);
        const names = ['Contents', 'Upload', 'Part', 'CommonPrefixes'].flatMap((name) => childrenOf(answer, name));
        return [names.map((entry) => textOf(entry, 'Key')), ...['Code', 'Message', 'Region', 'NextContinuationToken'].map((name) => textOf(answer, name))];
      },
    },
    sftpAnswers(corpus),
    {
      name: 'archived-content',
      seeds: filez,
      parse: (input) => {
        const bytes = Buffer.from(input);
        if (parseFilezHeader(bytes).sizeBytes > UNPACKED_BYTES) return undefined;
        // The first call tells which name the content has.
        let name = '0'.repeat(64);
        try {
          return unpackFilez(bytes, name as Checksum);
        } catch (error) {
          if (!isKnownError(error) || typeof error.data.actual !== 'string') throw error;
          name = error.data.actual;
        }
        return unpackFilez(bytes, name as Checksum).content.byteLength;
      },
    },
    ...repoFiles(corpus),
  ];
}

/** Heads and bodies as they come from a socket: of a first answer, and of one that goes on where another broke off. */
function httpTargets(): FuzzTarget[] {
  let answer: Uint8Array = new Uint8Array(0);
  let started: Promise<{ url: URL; transport: Transport; server: Server }> | undefined;
  const start = (): typeof started =>
    new Promise((resolve) => {
      const server = createServer((socket) => {
        socket.unref();
        socket.on('error', () => undefined);
        let head = '';
        socket.on('data', (chunk) => {
          head += chunk.toString('latin1');
          if (!head.includes('\r\n\r\n')) return;
          if (head.startsWith('GET /resumed') && !/^range:/im.test(head)) {
            socket.write('HTTP/1.1 200 OK\r\netag: "version"\r\ncontent-length: 600000\r\n\r\nthe first part');
            setImmediate(() => socket.resetAndDestroy());
          } else socket.end(answer);
        });
      });
      server.listen(0, '127.0.0.1', () => {
        server.unref();
        const address = server.address();
        const port = typeof address === 'object' && address !== null ? address.port : 0;
        resolve({ url: new URL(`http://127.0.0.1:${port}`), transport: createTransport({ retry: { attempts: 1 } }), server });
      });
    });
  const target = (name: string, path: string, seeds: readonly string[]): FuzzTarget => ({
    name,
    seeds: seeds.map((text) => Buffer.from(text, 'latin1')),
    mutate: textMutation([
      '\r\n',
      '\r\n\r\n',
      'content-length: ',
      'content-range: bytes ',
      'transfer-encoding: chunked',
      'retry-after: ',
      ': ',
      '99999999999999999999',
      '-1',
      '0x',
      'HTTP/1.1 ',
      '206',
      '429',
      '304',
      'etag: W/"',
      '\0',
      '\x80',
    ]),
    async parse(input) {
      answer = input;
      started ??= start();
      const { url, transport } = await (started as NonNullable<typeof started>);
      const request = { method: 'GET', url: new URL(path, url), headers: {}, resume: true, redirects: 'answer' } as const;
      return transport.exchange(request, async (response) => {
        let seen = 0;
        for await (const chunk of response.body) {
          seen += chunk.byteLength;
          if (seen > BODY_BYTES) break;
        }
        return [response.status, Object.keys(response.headers).length, seen];
      });
    },
  });
  return [
    target('http-answers', '/whole', [
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "x"\r\nLast-Modified: Sat, 01 Jan 2000 00:00:00 GMT\r\nDate: Sun, 02 Jan 2000 00:00:00 GMT\r\n\r\nhello',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\nTrailer: x\r\n\r\n',
      'HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n',
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno',
    ]),
    target('http-ranges', '/resumed', [
      `HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 14-599999/600000\r\nETag: "version"\r\nContent-Length: 599986\r\n\r\n${'the rest '.repeat(900)}`,
      'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew',
      'HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */5\r\nContent-Length: 0\r\n\r\n',
    ]),
  ];
}

/** What `sftp` prints: the echo of commands, and names as the server gives them. */
function sftpAnswers(corpus: string): FuzzTarget {
  const [answer, program] = ['sftp-answer', 'sftp-program'].map((name) => join(corpus, name)) as [string, string];
  const target = sftpTarget({ arguments: [], directory: '/srv/repo', program });
  let isMade = false;
  return {
    name: 'sftp-answers',
    seeds: [
      Buffer.from(
        'sftp> -ls -1 "/srv/repo/objects/ab"\n/srv/repo/objects/ab/cdef.filez\n/srv/repo/objects/ab/0123.dirtree\nsftp> ls -1a "/srv/repo"\n/srv/repo/.\n/srv/repo/config\n/srv/repo/n\\303\\266\nsftp> -pwd\nRemote working directory: /srv\n',
      ),
    ],
    dictionary: ['\n', 'sftp> ', '/srv/repo/', '\\303', '\\777', '..', ' ', '\r'],
    maxBytes: 4096,
    async parse(input) {
      if (!isMade) writeFileSync(program, `#!/bin/sh\nexec cat '${answer}'\n`);
      chmodSync(program, 0o755);
      isMade = true;
      writeFileSync(answer, input);
      const found = await target.list(['objects/ab'], undefined);
      if ([...found.keys()].some((name) => name !== 'objects/ab')) throw new Error('names of a directory that was not asked for');
      return [found.get('objects/ab'), await target.exists('config', undefined)];
    },
  };
}

/** Files of a repository that are read whoever wrote them. */
function repoFiles(corpus: string): FuzzTarget[] {
  const path = join(corpus, 'user');
  const repo = Repo.openSync(path);
  const files = [...repo.listObjects()].filter(({ type }) => type === 'file').map(({ checksum }) => checksum);
  const commits = [...repo.listObjects()].filter(({ type }) => type === 'commit').map(({ checksum }) => checksum);
  const records = files.flatMap((checksum) => [Buffer.from(checksum, 'hex'), fileIdentity(repo, checksum) ?? Buffer.alloc(8)]);
  const [record, ref] = [join(path, 'state/cambium-fsck'), join(path, 'refs/heads/fuzz/name')];
  mkdirSync(join(path, 'refs/heads/fuzz'), { recursive: true });
  return [
    {
      name: 'fsck-record',
      seeds: [Buffer.concat([Buffer.from('cambium-fsck 1\n'), ...records])],
      parse: (input) => {
        writeFileSync(record, input);
        const opened = openFsckRecord(repo);
        const verified: string[] = [];
        for (const { checksum } of opened?.verified ?? []) {
          verified.push(checksum);
          if (!files.includes(checksum)) throw new Error(`${checksum} is not there, and was found sound`);
        }
        opened?.close();
        rmSync(record, { force: true });
        return verified;
      },
    },
    {
      name: 'ref-files',
      seeds: [`${commits[0]}\n`, `${commits[0]}`].map((text) => Buffer.from(text)),
      dictionary: ['\n', '\0', ' ', 'ref: refs/heads/main'],
      maxBytes: 1024,
      parse: (input) => {
        writeFileSync(ref, input);
        try {
          const checksum = repo.refs.read('fuzz/name');
          if (checksum !== undefined && !/^[0-9a-f]{64}$/.test(checksum)) throw new Error(`"${checksum}" is no checksum`);
          return [checksum, repo.refs.list().size];
        } finally {
          rmSync(ref);
        }
      },
    },
    {
      name: 'revisions',
      seeds: [`${commits[0]}`, `${commits[0]}`.slice(0, 12), `${commits[0]}^`, 'main', 'origin:main^^'].map((text) => Buffer.from(text)),
      dictionary: ['^', ':', '/', '..', '~', 'x'.repeat(300)],
      maxBytes: 1024,
      parse: (input) => repo.refs.resolve(Buffer.from(input).toString('utf8')),
    },
  ];
}

const LISTING = `<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>trees</Name><Prefix>objects/ab/</Prefix><KeyCount>2</KeyCount>
<IsTruncated>true</IsTruncated><NextContinuationToken>token&amp;x</NextContinuationToken>
<Contents><Key>objects/ab/cd.filez</Key><LastModified>2020-01-01T00:00:00.000Z</LastModified><ETag>&quot;x&quot;</ETag><Size>12</Size></Contents>
<Contents><Key>objects/ab/ef.dirtree</Key></Contents></ListBucketResult>
`;
const UPLOADS = `<InitiateMultipartUploadResult><Bucket>trees</Bucket><Key>a</Key><UploadId>id-1</UploadId></InitiateMultipartUploadResult>`;
const FAILURE = `<Error><Code>RequestTimeTooSkewed</Code><Message>The difference is too large</Message><ServerTime>2020-01-01T00:00:00Z</ServerTime></Error>`;
