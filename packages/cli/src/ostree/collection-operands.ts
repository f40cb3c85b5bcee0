/** `COLLECTION-ID REF [COLLECTION-ID REF…]` on a command line. */
import type { CollectionRef } from '@cambium/ostree';
import { UsageError } from './verb.ts';

export function collectionRefsOf(operands: readonly string[]): CollectionRef[] {
  if (operands.length === 0 || operands.length % 2 !== 0) throw new UsageError('At least one COLLECTION-ID REF pair must be specified');
  const refs: CollectionRef[] = [];
  for (let at = 0; at < operands.length; at += 2) refs.push({ collection: operands[at] as string, ref: operands[at + 1] as string });
  return refs;
}
