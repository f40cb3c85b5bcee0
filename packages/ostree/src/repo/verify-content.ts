/** Whether a content object is what its name says. */
import { type Checksum, isKnownError } from '@cambium/base';
import type { Repo } from './repo.ts';

/** Contents up to this size are read in one piece. */
const WHOLE_BYTES = 1024 * 1024;
/** One per thread, made when there is something to read. */
let scratch: Buffer | undefined;

/** Reads a content object to its end. @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT */
export async function verifyContent(repo: Repo, checksum: Checksum): Promise<void> {
  scratch ??= Buffer.allocUnsafeSlow(WHOLE_BYTES);
  try {
    repo.loadFile(checksum, WHOLE_BYTES, scratch);
  } catch (error) {
    if (!isKnownError(error, 'OSTREE_OBJECT_TOO_LARGE')) throw error;
    if (repo.readPieces(checksum, scratch, () => undefined)) return;
    for await (const _chunk of repo.openFile(checksum)) {
      // Reading is verifying.
    }
  }
}
