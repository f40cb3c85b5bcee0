/** What the threads of delta generation do: compress parts, compare contents. */
import { bsdiff } from './bsdiff.ts';
import { encodePartFile } from './part.ts';
import { matchRegions, type Region } from './rollsum.ts';

export type DeltaTask = { op: 'compress'; part: Uint8Array } | { op: 'compare'; old: Uint8Array; next: Uint8Array; bsdiff: boolean };

/** How to make a content of another one; undefined: it does not pay. */
export type Recipe = { kind: 'rollsum'; regions: Region[]; copiedBytes: number } | { kind: 'bsdiff'; patch: Uint8Array } | undefined;

export type DeltaReply = { file: Uint8Array } | { recipe: Recipe };

/** Of the new content: chunks alike that make copying pay, and unpredicted bytes that make a patch useless. */
const COPY_SHARE = 0.5;
const NOVEL_SHARE = 0.8;

export async function runDeltaTask(task: DeltaTask): Promise<DeltaReply> {
  if (task.op === 'compress') return { file: await encodePartFile(task.part) };
  const { old, next } = task;
  const { regions, copiedBytes } = matchRegions(old, next);
  if (copiedBytes >= next.byteLength * COPY_SHARE) return { recipe: { kind: 'rollsum', regions, copiedBytes } };
  if (!task.bsdiff) return { recipe: undefined };
  const patch = bsdiff(old, next);
  return { recipe: patch.novelBytes > next.byteLength * NOVEL_SHARE ? undefined : { kind: 'bsdiff', patch: patch.bytes } };
}
