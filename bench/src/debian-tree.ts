/**
 * The tree that the OSTree figures are for: Debian packages of a development machine, laid out, and its next version.
 */
import { existsSync, linkSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { debianArchive, tarDirectory } from '@cambium/testkit';

export interface DebianTree {
  /** The first version: about 50,000 files, 1 GB. */
  root: string;
  /** As {@link root}, with 3 % of the files changed; the others are links of it. */
  next: string;
  /** The first version as a tar file. */
  tar: string;
  files: number;
}

const PACKAGES = [
  'build-essential',
  'cmake',
  'git',
  'golang-go',
  'linux-headers-amd64',
  'nodejs',
  'perl',
  'python3-django',
  'python3-numpy',
  'python3-sympy',
  'vim',
];
/** One file in so many changes: 3 %. */
const CHANGED_EVERY = 33;

/** Makes the tree, or finds it in `cache` as an earlier run made it. */
export async function makeDebianTree(cache: string, log: (line: string) => void): Promise<DebianTree> {
  const directory = join(cache, 'debian-tree-1');
  const tree = { root: join(directory, 'root'), next: join(directory, 'next'), tar: join(directory, 'root.tar') };
  const complete = join(directory, 'complete');
  if (!existsSync(complete)) {
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(tree.root, { recursive: true });
    log(`unpacking ${PACKAGES.join(', ')} and what they need`);
    const archive = await debianArchive(join(cache, 'apt'));
    await archive.unpack(await archive.closure(PACKAGES), tree.root);
    await tarDirectory(tree.root, tree.tar);
    const changer = { files: 0 };
    copyChanged(tree.root, tree.next, changer);
    writeFileSync(complete, `${changer.files}\n`);
  }
  return { ...tree, files: Number(readFileSync(complete, 'utf8')) };
}

/** Links a tree, and rewrites one file in {@link CHANGED_EVERY}: some bytes in its middle, and a line more. */
function copyChanged(from: string, to: string, changer: { files: number }): void {
  mkdirSync(to, { mode: lstatSync(from).mode & 0o7777 });
  for (const name of readdirSync(from).sort()) {
    const [source, target] = [join(from, name), join(to, name)];
    const stat = lstatSync(source);
    if (stat.isDirectory()) copyChanged(source, target, changer);
    else if (stat.isSymbolicLink()) symlinkSync(readlinkSync(source), target);
    else if (++changer.files % CHANGED_EVERY !== 0) linkSync(source, target);
    else {
      const bytes = readFileSync(source);
      const middle = bytes.length >> 1;
      bytes.fill('changed', middle, Math.min(middle + 64, bytes.length));
      writeFileSync(target, Buffer.concat([bytes, Buffer.from(`changed ${changer.files}\n`)]), { mode: stat.mode & 0o7777 });
    }
  }
}
