/** Refs onto a volume where any machine finds them. Source: `ostree create-usb`, libostree 2022.7. */
import { existsSync, lstatSync, mkdirSync, readdirSync, realpathSync, symlinkSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { type Checksum, systemError } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { pullLocal } from '../pull/pull-local.ts';
import { verifyBindings } from '../repo/bindings.ts';
import { type CollectionRef, checkCollectionRef, formatCollectionRef, listCollectionRefs } from '../repo/collection-refs.ts';
import { Repo } from '../repo/repo.ts';
import { regenerateSummary } from '../summary/summary-write.ts';

export interface CreateUsbOptions {
  refs: readonly CollectionRef[];
  /** Copy this commit for the one ref, and not what the ref points at. */
  commit?: Checksum | undefined;
  /** Where the repository goes on the volume; `.ostree/repo` by default, where finders look first. */
  destination?: string | undefined;
  fsync?: boolean | undefined;
}

const STANDARD_PLACES = ['ostree/repo', '.ostree/repo'];
const LINKS = '.ostree/repos.d';
/** The numbers of names are two digits. */
const MAX_LINKS = 100;

/**
 * Copies the commits of `refs` into an archive repository on the volume mounted at `mount`, made when it is not there,
 * points mirrored refs at them, and writes its summary. Returns the repository's path below the mount.
 *
 * @throws OSTREE_REF_INVALID OSTREE_REF_NOT_FOUND OSTREE_BINDING_MISMATCH OSTREE_OPTION_INVALID, and what {@link pullLocal} throws
 */
export async function createUsb(repo: Repo, mount: string, options: CreateUsbOptions, signal?: AbortSignal): Promise<string> {
  const { refs, fsync, destination = STANDARD_PLACES[1] as string } = options;
  if (options.commit !== undefined && refs.length !== 1) {
    throw ostreeError('OSTREE_OPTION_INVALID', 'The --commit option can only be used when a single COLLECTION-ID REF pair is specified');
  }
  const known = new Map(listCollectionRefs(repo).map((row) => [formatCollectionRef(row), row.checksum]));
  const wanted = refs.map((ref) => {
    checkCollectionRef(ref);
    const checksum = options.commit ?? known.get(formatCollectionRef(ref));
    if (checksum === undefined) throw ostreeError('OSTREE_REF_NOT_FOUND', `Collection–ref ${formatCollectionRef(ref)} not found`, { data: { ...ref } });
    verifyBindings(checksum, repo.readCommit(checksum), ref);
    return { ...ref, checksum };
  });
  const path = join(mount, destination);
  if (relative(resolve(mount), resolve(path)).split('/')[0] === '..') {
    throw ostreeError('OSTREE_OPTION_INVALID', `Cannot write to "${destination}": it leads out of the volume`);
  }
  // A volume that is not there must not be made.
  readdirSync(mount);
  const target = await Repo.init(path, { mode: 'archive' });
  await pullLocal(target, repo, { refs: [...new Set(wanted.map(({ checksum }) => checksum))], ...(fsync === undefined ? {} : { fsync }) }, signal);
  for (const { collection, ref, checksum } of wanted) target.refs.writeCollectionRef(collection, ref, checksum);
  if (!STANDARD_PLACES.includes(relative(resolve(mount), resolve(path)))) linkTo(mount, path);
  await regenerateSummary(target, { signal });
  return destination;
}

/** Finders look into `.ostree/repos.d`, too. */
function linkTo(mount: string, path: string): void {
  const directory = join(mount, LINKS);
  try {
    mkdirSync(directory, { recursive: true });
    for (let number = 0; number < MAX_LINKS; number++) {
      const link = join(directory, `${String(number).padStart(2, '0')}-generated`);
      if (lstatSync(link, { throwIfNoEntry: false }) === undefined) {
        symlinkSync(relative(resolve(directory), resolve(path)), link);
        return;
      }
      if (existsSync(link) && realpathSync(link) === realpathSync(path)) return;
    }
  } catch (error) {
    throw systemError(error, `Cannot make a link to the repository in "${directory}"`) ?? error;
  }
  throw ostreeError('OSTREE_OPTION_INVALID', `Cannot name the repository in "${directory}": all ${MAX_LINKS} names are taken`);
}
