/**
 * A push into a bucket of an S3-compatible store, from where it can be served as it is. Each file is there whole or not at
 * all, and many are under way at once.
 *
 * Source: Amazon S3 API reference, ListObjectsV2, GetObject.
 */
import { isKnownError, mapLimit } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { childrenOf, textOf } from '../format/xml.ts';
import type { PushFile, PushTarget } from './push-target.ts';
import { parseAnswer } from './s3-answer.ts';
import { type BucketOptions, openBucket } from './s3-client.ts';
import { type PartOptions, putObject } from './s3-upload.ts';

export interface S3Options extends BucketOptions, PartOptions {
  /** Where in the bucket the repository is; `''` for all of it. */
  prefix?: string | undefined;
}

/** Requests under way: each waits for the store most of its time. */
const AT_ONCE = 32;

/**
 * Many may push into one bucket, but nobody holds off who deletes there. The transport stays the caller's to close.
 *
 * @throws OSTREE_OPTION_INVALID
 */
export function s3Target(options: S3Options): PushTarget {
  const bucket = openBucket(options);
  const prefix = prefixOf(options.prefix ?? '');
  const keyOf = (path: string): string => `${prefix}${path}`;

  /** Returns some of the keys that begin so, and what asks for the next ones. */
  const listPage = async (
    start: string,
    more: { 'continuation-token'?: string; 'max-keys'?: string },
    signal: AbortSignal | undefined,
  ): Promise<{ keys: string[]; next: string | undefined }> => {
    const answer = await bucket.ask({ method: 'GET', query: { 'list-type': '2', prefix: start, ...more }, signal });
    if (answer.status !== 200) throw bucket.refusal(answer, `list "${start}"`);
    const list = parseAnswer(answer.body);
    // Some proxies have a page of their own for everything: what it does not list would be sent to it.
    if (list.name !== 'ListBucketResult') throw bucket.refusal(answer, `understand the list of "${start}"`);
    const keys = childrenOf(list, 'Contents').map((entry) => textOf(entry, 'Key') ?? '');
    const next = textOf(list, 'IsTruncated') === 'true' ? (textOf(list, 'NextContinuationToken') ?? '') : undefined;
    if (next === '' || (next !== undefined && next === more['continuation-token'])) throw bucket.refusal(answer, `list "${start}" to its end`);
    return { keys: keys.filter((key) => key.startsWith(start)), next };
  };

  const namesIn = async (directory: string, signal: AbortSignal | undefined): Promise<string[]> => {
    const start = `${keyOf(directory)}/`;
    const names: string[] = [];
    for (let token: string | undefined; ; ) {
      const { keys, next } = await listPage(start, token === undefined ? {} : { 'continuation-token': token }, signal);
      for (const key of keys) if (!key.includes('/', start.length)) names.push(key.slice(start.length));
      if (next === undefined) return names;
      token = next;
    }
  };

  const putOne = async (file: PushFile, signal: AbortSignal | undefined): Promise<void> => {
    signal?.throwIfAborted();
    // A client asks for `a+b`, and such a store looks for `a b`.
    if (bucket.plusIsSpace && file.path.includes('+')) await putObject(bucket, keyOf(file.path.replaceAll('+', ' ')), file.path, file.content, options, signal);
    await putObject(bucket, keyOf(file.path), file.path, file.content, options, signal);
  };

  return {
    atOnce: AT_ONCE,
    name: `s3://${bucket.name}${prefix === '' ? '' : `/${prefix.slice(0, -1)}`}`,
    list: async (directories, signal) => {
      const found = await mapLimit(directories, AT_ONCE, async (directory) => [directory, await namesIn(directory, signal)] as const);
      return new Map(found.filter(([, names]) => names.length > 0));
    },
    exists: async (path, signal) => {
      // What begins with its name comes in order of keys: itself first.
      const file = await listPage(keyOf(path), { 'max-keys': '1' }, signal);
      if (file.keys.includes(keyOf(path))) return true;
      return (await listPage(`${keyOf(path)}/`, { 'max-keys': '1' }, signal)).keys.length > 0;
    },
    read: async (path, limitBytes, signal) => {
      const key = keyOf(path);
      try {
        const answer = await bucket.ask({ method: 'GET', key, limitBytes, signal });
        if (answer.status === 200) return answer.body;
        if (answer.status === 404 && answer.code !== 'NoSuchBucket') return undefined;
        throw bucket.refusal(answer, `read "${key}"`);
      } catch (cause) {
        if (!isKnownError(cause, 'BYTES_TOO_LARGE')) throw cause;
        throw ostreeError('OSTREE_PUSH_FAILED', `Cannot read "${key}" in s3://${bucket.name}: over ${limitBytes} bytes`, { cause });
      }
    },
    // There are none.
    makeDirectories: () => Promise.resolve(),
    put: async (groups, signal, onPut) => {
      for (const group of groups) {
        await mapLimit(group, AT_ONCE, async (file) => {
          await putOne(file, signal);
          onPut(file);
        });
      }
    },
    hold: () => Promise.resolve(() => undefined),
    settle: () => Promise.resolve(),
  };
}

function prefixOf(text: string): string {
  const parts = text.split('/').filter((part) => part !== '');
  // URLs have these taken out on their way.
  if (parts.some((part) => part === '.' || part === '..') || /\p{Cc}/u.test(text))
    throw ostreeError('OSTREE_OPTION_INVALID', `Cannot use ${JSON.stringify(text)} as a place in a bucket`);
  return parts.map((part) => `${part}/`).join('');
}
