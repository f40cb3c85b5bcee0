/** `--sysroot` of the verbs that have it, beside libostree. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scratch } from '@cambium/testkit';
import { compare, line, setUp, skip } from './two-worlds.test.ts';

test('remotes of a sysroot are written to its repository', { skip }, async (t) => {
  await compare(scratch(t), [
    setUp('init --repo=sys/ostree/repo --mode=bare-user', { before: (world) => mkdirSync(join(world, 'sys/ostree/repo'), { recursive: true }) }),
    line('remote add --sysroot=sys origin http://example.com/'),
    line('remote add --sysroot=sys --no-gpg-verify origin http://example.com/ main', { before: (world) => mkdirSync(join(world, 'sys/ostree/deploy')) }),
    line('remote add --sysroot=sys origin http://example.com/'),
    line('remote add --sysroot=sys --if-not-exists origin http://example.com/'),
    line('remote add --sysroot=sys --force origin http://example.com/other'),
    // It goes before --repo.
    line('remote add --sysroot=sys --repo=nowhere second http://example.com/'),
    line('remote list --repo=sys/ostree/repo --show-urls'),
    line('remote add --sysroot=nowhere origin http://example.com/'),
    line('remote add --sysroot=file origin http://example.com/', { before: (world) => writeFileSync(join(world, 'file'), '') }),
    line('remote add --sysroot=empty origin http://example.com/', { before: (world) => mkdirSync(join(world, 'empty')) }),
    line('remote add --sysroot=odd origin http://example.com/', { before: (world) => mkdirSync(join(world, 'odd/ostree/repo'), { recursive: true }) }),
    line('remote delete --sysroot=sys origin'),
    line('remote delete --sysroot=sys origin'),
    line('remote delete --sysroot=sys --if-exists origin'),
    line('remote delete --sysroot=nowhere origin'),
    line('remote list --repo=sys/ostree/repo'),
  ]);
});
