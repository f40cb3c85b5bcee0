/** Files that share their blocks on disk. Source: `ioctl_fideduperange(2)`, `linux/fs.h`. */
import { constants } from 'node:os';
import { callError, memory, native, VALUE_AT } from './native.ts';

const IOCTL = process.arch === 'x64' ? 16 : 29;
/** With one `file_dedupe_range_info` behind the `file_dedupe_range`. */
const FIDEDUPERANGE = 0xc0189436;
const RANGE_BYTES = 24;
const INFO_BYTES = 32;
/** What btrfs does in one call. */
const MAX_SHARE_BYTES = 16 * 1024 * 1024;

const { EINVAL, ENOSYS, ENOTTY, EOPNOTSUPP, EPERM, ETXTBSY, EXDEV } = constants.errno;
const CANNOT_SHARE: readonly number[] = [EINVAL, ENOSYS, ENOTTY, EOPNOTSUPP, EPERM, ETXTBSY, EXDEV];

/**
 * Lets two open files of equal content have the same blocks on disk. The kernel compares what it shares, so nothing
 * changes but the room taken. Returns false where file systems cannot, or the contents differ.
 *
 * @param to open for writing
 * @throws errno
 */
export function shareBlocks(from: number, to: number, sizeBytes: number): boolean {
  const { libc, address } = native();
  const view = new DataView(memory.buffer, VALUE_AT, RANGE_BYTES + INFO_BYTES);
  for (let at = 0; at < sizeBytes; ) {
    const length = Math.min(MAX_SHARE_BYTES, sizeBytes - at);
    view.setBigUint64(0, BigInt(at), true);
    view.setBigUint64(8, BigInt(length), true);
    view.setUint16(16, 1, true);
    view.setUint16(18, 0, true);
    view.setUint32(20, 0, true);
    view.setBigInt64(24, BigInt(to), true);
    view.setBigUint64(32, BigInt(at), true);
    view.setBigUint64(40, 0n, true);
    view.setBigUint64(48, 0n, true);
    if (libc.syscall(IOCTL, from, FIDEDUPERANGE, address + VALUE_AT, 0, 0) < 0) {
      const errno = libc.errno();
      if (CANNOT_SHARE.includes(errno)) return false;
      throw callError(errno, 'ioctl');
    }
    const status = view.getInt32(48, true);
    const done = Number(view.getBigUint64(40, true));
    // 1 is "differs", a negative number the error of this range.
    if (status < 0 && !CANNOT_SHARE.includes(-status)) throw callError(-status, 'ioctl');
    if (status !== 0 || done === 0) return false;
    at += done;
  }
  return true;
}
