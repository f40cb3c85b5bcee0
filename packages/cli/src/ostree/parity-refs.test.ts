/** Names of commits, listings and settings, beside libostree. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scratch } from '@cambium/testkit';
import { ANY_ORDER, COMMIT, compare, line, SECOND, setUp, skip } from './two-worlds.test.ts';

test('init', { skip }, async (t) => {
  await compare(scratch(t), [
    line('init --repo=repo --mode=archive'),
    line('init --repo=other --mode=bare-user-only --collection-id=org.example.Test'),
    line('init --repo=third'),
    line('init --repo=bad --mode=weird'),
    line('init --nonsense'),
    line('refs --repo=nowhere'),
    line('refs --repo=tree'),
  ]);
});

test('refs', { skip }, async (t) => {
  await compare(scratch(t), [
    setUp(`${COMMIT} --tree=dir=tree`),
    line('refs', ANY_ORDER),
    line('refs --create=foo/bar main'),
    line('refs --create=foo/baz/qux main'),
    line('refs --create=remote:branch main'),
    line('refs', ANY_ORDER),
    line('refs foo', ANY_ORDER),
    line('refs foo/', ANY_ORDER),
    line('refs foo/bar', ANY_ORDER),
    line('refs --list foo', ANY_ORDER),
    line('refs --list foo/bar', ANY_ORDER),
    line('refs nope', ANY_ORDER),
    line('refs remote:', ANY_ORDER),
    line('refs remote:branch', ANY_ORDER),
    line('refs --list remote:branch', ANY_ORDER),
    line('refs --create=foo main'),
    line('refs --create=foo/bar/x main', { sameMessage: false }),
    line('refs --create=foo/bar main'),
    line('refs --create=foo/bar --force main'),
    line('refs --create=bad..//name main'),
    line('refs --create=x nope'),
    line('refs --create=x'),
    line('refs --create=x main main'),
    line('refs --alias --create=al main'),
    line('refs --alias --create=deep/al main'),
    line('refs --alias --create=al2 nope'),
    line('refs --alias --create=origin:al2 main'),
    line('refs --alias --create=bad..name main'),
    line('refs -A', ANY_ORDER),
    line('refs', ANY_ORDER),
    line('refs --delete main', { sameMessage: false }),
    line('refs --delete al'),
    line('refs --delete deep'),
    line('refs --delete foo'),
    line('refs --delete nope'),
    line('refs --delete'),
    line('refs', ANY_ORDER),
    line('refs -c', ANY_ORDER),
  ]);
});

test('refs of collections', { skip }, async (t) => {
  const collections = (world: string): void => {
    writeFileSync(join(world, 'repo/config'), `${readFileSync(join(world, 'repo/config'), 'utf8')}collection-id=org.example.Mine\n`);
  };
  await compare(scratch(t), [
    setUp(`${COMMIT} --tree=dir=tree`, { before: collections }),
    line('show --print-metadata-key=ostree.collection-binding main'),
    line('refs -c', ANY_ORDER),
    line('refs -c --create=org.example.Other:branch main'),
    line('refs -c --create=org.example.Mine:branch main'),
    line('refs -c --create=wrong:branch main', { sameMessage: false }),
    line('refs -c', ANY_ORDER),
    line('refs -c org.example.Other', ANY_ORDER),
    setUp('remote add origin http://x --collection-id=org.example.Far'),
    setUp('refs --create=origin:away main'),
    setUp('refs --create=elsewhere:away main'),
    line('refs -c', ANY_ORDER),
    line('refs -c org.example.Far'),
    line('refs -c bad..id'),
    line('refs', ANY_ORDER),
    line('refs -c --delete org.example.Other'),
    line('refs -c', ANY_ORDER),
  ]);
});

test('rev-parse, log, show, ls, cat', { skip }, async (t) => {
  await compare(scratch(t), [
    line('rev-parse -S'),
    setUp(`${COMMIT} --tree=dir=tree --add-metadata-string=version=1.0 --add-metadata=number=uint64_5`),
    line('rev-parse -S'),
    setUp(`${SECOND} --add-detached-metadata-string=note=hello`),
    line('rev-parse -S'),
    line('rev-parse main'),
    line('rev-parse main^ main'),
    line('rev-parse main^^'),
    line('rev-parse nope'),
    line('rev-parse bad..//rev'),
    line('rev-parse'),
    line('rev-parse -S main'),
    line('log main'),
    line('log --raw main'),
    line('log nope'),
    line('log'),
    line('show main'),
    line('show main^'),
    line('show --raw main'),
    line('show -B main'),
    line('show --print-related main'),
    line('show --print-metadata-key=version main^'),
    line('show --print-metadata-key=number main^'),
    line('show -B --print-metadata-key=number main^'),
    line('show --print-metadata-key=ostree.ref-binding main'),
    line('show --print-metadata-key=nope main'),
    line('show --print-detached-metadata-key=note main'),
    line('show --print-detached-metadata-key=nope main'),
    line('show --print-detached-metadata-key=nope main^'),
    line('show nope'),
    line(`show ${'f'.repeat(64)}`),
    line('show'),
    line('ls main'),
    line('ls main /dir'),
    line('ls -R main'),
    line('ls -d main'),
    line('ls -RC main'),
    line('ls -RX main'),
    line('ls -RCX main'),
    line('ls -R --nul-filenames-only main'),
    line('ls main dir/deep file'),
    line('ls main /file'),
    line('ls main /dir/link'),
    line('ls main /nope'),
    line('ls main /file/x'),
    line('ls nope'),
    line('ls'),
    line('cat main /file'),
    line('cat main file script nothing'),
    setUp('commit -b linked --tree=dir=links', {
      before: (world) => {
        mkdirSync(join(world, 'links/dir'), { recursive: true });
        writeFileSync(join(world, 'links/dir/target'), 'text');
        symlinkSync('dir/target', join(world, 'links/link'));
        symlinkSync('link', join(world, 'links/second'));
        symlinkSync('dir', join(world, 'links/directory'));
      },
    }),
    line('cat linked /link second'),
    line('cat linked /directory'),
    line('cat main /dir'),
    line('cat main /nope'),
    line('cat main'),
    line('cat'),
  ]);
});

test('options are read as GLib reads them', { skip }, async (t) => {
  await compare(scratch(t), [
    line('commit --branch main --subject=sub --tree dir=tree'),
    line('commit --orphan -s=x --tree=dir=tree --fsync=no'),
    line('commit -b main --fsync=maybe'),
    line('commit -b'),
    line('commit --branch'),
    line('commit -b main --owner-uid=x'),
    line('commit -b main --owner-uid=99999999999'),
    line('commit -b main --owner-uid=0x10 --owner-gid=010 tree'),
    line('ls -Rd main'),
    line('ls -RQ main'),
    line('ls --recursiv main'),
    line('ls --recursive=yes main'),
    line('--repo=repo ls main'),
    line('ls main -R --repo=repo'),
    line('ls -- main'),
    line('cat --help'),
    line('-v refs', { sameMessage: false }),
    line('nosuchverb'),
    line('--nosuchoption'),
    line('--nosuchoption refs'),
    line(''),
  ]);
});

test('config', { skip }, async (t) => {
  await compare(scratch(t), [
    line('config get core.mode'),
    line('config set core.some-key value'),
    line('config get core.some-key'),
    line('config set --group=my_group key a_b'),
    line('config get --group=my_group key'),
    line('config set remote_"a.b".url http://example.com'),
    line('config unset core.some-key'),
    line('config unset core.some-key'),
    line('config unset nogroup.key'),
    line('config get core.some-key'),
    line('config get nogroup.key'),
    line('config get nodot'),
    line('config get'),
    line('config set x'),
    line('config set core.x'),
    line('config unset'),
    line('config fly'),
    line('config'),
  ]);
});

test('reset', { skip }, async (t) => {
  await compare(scratch(t), [
    setUp(`${COMMIT} --tree=dir=tree`),
    setUp(SECOND),
    line('reset main main^'),
    line('log main'),
    line('reset main nope'),
    line('reset nope main'),
    line('reset main'),
    line('reset'),
  ]);
});
