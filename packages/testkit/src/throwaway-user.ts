/**
 * An unprivileged user that exists for the programs of one test only.
 *
 * Nothing on the machine changes: in a mount namespace of its own, `passwd`, `group`, `subuid` and `subgid` are covered
 * by copies with one more line. newuidmap is setuid and runs in that namespace, so it reads the same copies.
 */
import { randomInt } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ThrowawayUser {
  name: string;
  uid: number;
  gid: number;
  /** Returns what root spawns so that `command` runs as this user. */
  wrap(command: string, args: readonly string[]): { command: string; args: string[] };
}

const SUBORDINATE_IDS = 65_536;
/** Ranges that no distribution gives out by default: above those of Debian's useradd and below 2^31. */
const FIRST_SUBORDINATE = 0x4000_0000;

/**
 * Makes up a user whose home is `directory/home`. Needs root.
 *
 * The user may also open `/dev/net/tun`, as on a desktop: udev opens it to all, and a machine without udev does not.
 */
export function throwawayUser(directory: string): ThrowawayUser {
  const slot = randomInt(0, 8192);
  const name = `cambium-${slot}`;
  const id = 40_000 + slot;
  const covers = join(directory, 'etc');
  mkdirSync(covers, { recursive: true });
  const subordinate = `${name}:${FIRST_SUBORDINATE + slot * SUBORDINATE_IDS}:${SUBORDINATE_IDS}`;
  cover(covers, 'passwd', `${name}:x:${id}:${id}::${join(directory, 'home')}:/bin/sh`);
  cover(covers, 'group', `${name}:x:${id}:`);
  cover(covers, 'subuid', subordinate);
  cover(covers, 'subgid', subordinate);
  const enter = join(covers, 'enter.sh');
  writeFileSync(enter, enterScript(covers, id));
  return {
    name,
    uid: id,
    gid: id,
    wrap: (command, args) => ({ command: 'unshare', args: ['--mount', '--propagation', 'slave', 'sh', enter, command, ...args] }),
  };
}

function cover(covers: string, file: string, line: string): void {
  const present = existsSync(`/etc/${file}`) ? readFileSync(`/etc/${file}`, 'utf8').replace(/\n?$/, '\n') : '';
  writeFileSync(join(covers, file), `${present.trim() === '' ? '' : present}${line}\n`);
  chmodSync(join(covers, file), 0o644);
}

function enterScript(covers: string, id: number): string {
  return `set -e
for file in passwd group subuid subgid; do
  [ -e "/etc/$file" ] || touch "/etc/$file"
  mount --bind '${covers}'/"$file" "/etc/$file"
done
if [ -c /dev/net/tun ]; then
  mount -t tmpfs -o mode=755 tmpfs /dev/net
  mknod -m 666 /dev/net/tun c 10 200
fi
exec setpriv --reuid=${id} --regid=${id} --init-groups -- "$@"
`;
}
