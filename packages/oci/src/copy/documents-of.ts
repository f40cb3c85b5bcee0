/** All documents below what a reference names: the index, indexes in it, and the manifests. */
import { ociError } from '../errors.ts';
import { isIndex } from '../image/documents.ts';
import { documentKind } from '../image/media-types.ts';
import type { Descriptor, Document, ImageSource, Index, Manifest } from '../image/types.ts';

/** A document with those that it names, in its order; a manifest has none. */
export interface DocumentNode {
  document: Document<Manifest | Index>;
  /** Its entry in the index around it. */
  descriptor: Descriptor | undefined;
  children: DocumentNode[];
}

/** An index in an index is legal; deeper nesting has no use. */
const MAX_DEPTH = 4;
const MAX_DOCUMENTS = 8192;
/** All of them are held at once; the largest known indexes have some hundred kilobytes of manifests. */
const MAX_TOTAL_BYTES = 64 * 1024 * 1024;

/**
 * Fetches everything that `top` names, each document once.
 *
 * @throws OCI_MANIFEST_INVALID for indexes nested too deep or with too much in them, and what the source throws
 */
export async function documentsBelow(source: ImageSource, top: Document<Manifest | Index>, signal?: AbortSignal): Promise<DocumentNode> {
  const seen = new Map<string, DocumentNode>();
  let total = 0;
  const visit = async (document: Document<Manifest | Index>, descriptor: Descriptor | undefined, depth: number): Promise<DocumentNode> => {
    const node: DocumentNode = { document, descriptor, children: [] };
    seen.set(document.digest, node);
    if (!isIndex(document)) return node;
    if (depth > MAX_DEPTH) throw ociError('OCI_MANIFEST_INVALID', `Cannot copy ${source.reference}: indexes are nested over ${MAX_DEPTH} deep`);
    for (const entry of document.value.manifests) {
      const present = seen.get(entry.digest);
      if (present !== undefined) {
        node.children.push({ ...present, descriptor: entry });
        continue;
      }
      if (seen.size >= MAX_DOCUMENTS) throw ociError('OCI_MANIFEST_INVALID', `Cannot copy ${source.reference}: it has over ${MAX_DOCUMENTS} manifests`);
      if (documentKind(entry.mediaType) === undefined) {
        throw ociError(
          'OCI_MANIFEST_INVALID',
          `Cannot copy ${source.reference}: its index names something that is no manifest ("${entry.mediaType.slice(0, 120)}")`,
        );
      }
      total += entry.size;
      if (total > MAX_TOTAL_BYTES) throw ociError('OCI_MANIFEST_INVALID', `Cannot copy ${source.reference}: its manifests have over ${MAX_TOTAL_BYTES} bytes`);
      const child = await source.manifest(entry.digest, signal);
      if (child.bytes.byteLength !== entry.size) {
        throw ociError(
          'OCI_MANIFEST_MISMATCH',
          `Cannot trust ${source.reference} (${entry.digest}): it has ${child.bytes.byteLength} bytes, not ${entry.size}`,
        );
      }
      node.children.push(await visit(child, entry, depth + 1));
    }
    return node;
  };
  return await visit(top, undefined, 1);
}

/** Returns the manifests below a node, each once, those named first coming first. */
export function manifestsOf(node: DocumentNode): Document<Manifest>[] {
  const found = new Map<string, Document<Manifest>>();
  const visit = ({ document, children }: DocumentNode): void => {
    if (!isIndex(document)) found.set(document.digest, document as Document<Manifest>);
    for (const child of children) visit(child);
  };
  visit(node);
  return [...found.values()];
}
