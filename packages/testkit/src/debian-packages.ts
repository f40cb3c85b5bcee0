/** Debian packages without installing them: resolved, downloaded and laid out by apt and dpkg-deb, apart from the machine's own state. */
import { chmodSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { testkitError } from './errors.ts';
import { output, run } from './run.ts';

export interface DebianArchive {
  /** Names of the packages that are essential or required. */
  required(): Promise<string[]>;
  /** Names of everything that installing these would install on an empty system, sorted. */
  closure(names: readonly string[]): Promise<string[]>;
  /** Downloads packages and lays their files out under `root`, with `/bin`, `/lib` and `/sbin` merged into `/usr`. */
  unpack(names: readonly string[], root: string): Promise<void>;
}

/** What Debian 12 merges into /usr; the links themselves belong to the base layer. */
export const MERGED_USR: readonly string[] = ['bin', 'lib', 'lib32', 'lib64', 'libx32', 'sbin'];

/**
 * Opens the machine's package sources with an empty system as the starting point.
 *
 * @param directory where apt keeps its lists and downloads; needs no root
 */
export async function debianArchive(directory: string): Promise<DebianArchive> {
  const archives = join(directory, 'archives');
  for (const folder of ['lists/partial', 'archives/partial']) mkdirSync(join(directory, folder), { recursive: true });
  writeFileSync(join(directory, 'status'), '');
  const settings = Object.entries({
    'Dir::State': directory,
    'Dir::State::status': join(directory, 'status'),
    'Dir::State::Lists': join(directory, 'lists'),
    'Dir::Cache': directory,
    'Dir::Cache::archives': archives,
    'Debug::NoLocking': '1',
    'APT::Sandbox::User': '',
    'APT::Install-Recommends': '0',
    'Acquire::Retries': '3',
  }).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  await run('apt-get', [...settings, '--quiet', 'update'], { env });

  return {
    async required() {
      const { stdout } = await run('apt-cache', [...settings, 'dumpavail'], { env });
      const names = stdout
        .split('\n\n')
        .flatMap((stanza) => (/^(?:Priority: required|Essential: yes)$/m.test(stanza) ? [/^Package: (\S+)/m.exec(stanza)?.[1] ?? ''] : []));
      return [...new Set(names)].sort();
    },
    async closure(names) {
      const { stdout } = await run('apt-get', [...settings, '--simulate', 'install', ...names], { env });
      return [...stdout.matchAll(/^Inst (\S+)/gm)].map((match) => match[1] ?? '').sort();
    },
    async unpack(names, root) {
      await run('apt-get', [...settings, '--quiet', '--yes', '--download-only', 'install', ...names], { env });
      const files = readdirSync(archives);
      for (const folder of MERGED_USR.filter((name) => name !== 'lib32' && name !== 'libx32')) {
        mkdirSync(join(root, 'usr', folder), { recursive: true });
        if (!existsSync(join(root, folder))) symlinkSync(`usr/${folder}`, join(root, folder));
      }
      for (const name of names) {
        const file = files.find((candidate) => candidate.startsWith(`${name}_`) && candidate.endsWith('.deb'));
        if (file === undefined) throw testkitError('TESTKIT_SPEC_INVALID', `Cannot find the package file of "${name}"`);
        // dpkg-deb --extract would replace the links by directories.
        const extract =
          'dpkg-deb --fsys-tarfile "$1" | tar --extract --preserve-permissions --numeric-owner --keep-directory-symlink --directory "$2" --file -';
        await run('sh', ['-c', extract, 'sh', join(archives, file), root], { env });
      }
      chmodSync(root, 0o755);
    },
  };
}

/** Writes the files under `root` into a tar whose bytes depend on nothing else: sorted, one date, numeric owners. */
export async function tarDirectory(root: string, archive: string, exclude: readonly string[] = []): Promise<void> {
  await output('tar', [
    '--create',
    '--format=pax',
    '--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime',
    '--sort=name',
    '--mtime=@1700000000',
    '--numeric-owner',
    '--xattrs',
    // As an ordinary user all files are one's own: say root's, as the packages do for nearly all.
    ...(process.getuid?.() === 0 ? [] : ['--owner=0', '--group=0']),
    ...exclude.map((path) => `--exclude=./${path}`),
    '--anchored',
    '--file',
    archive,
    '--directory',
    root,
    '.',
  ]);
}
