/**
 * Packs a Compose app, images included, into an OSTree repository.
 *
 * The commit: `/storage` (a podman image store), `/APP/docker-compose.yml` with pinned images and the files the model
 * refers to, `/precompose.json` (also the commit's body). Format: `docs/formats/app-commit.md`.
 */
import { basename } from 'node:path/posix';
import { type Checksum, isKnownError, stableJson, systemError } from '@cambium/base';
import { type AppImage, appImagesMetadata, appImagesOf, type StoredImage, writePodmanStore } from '@cambium/bridge';
import { Variant } from '@cambium/gvariant';
import { createRegistryClient, printPlatform, type RegistryClientOptions, type WantedPlatform } from '@cambium/oci';
import { Repo, signCommitBytes, Transaction, type TransactionStats, type TreeRoot, writeCommitObject } from '@cambium/ostree';
import { requireGpgSecretKey } from '@cambium/trust';
import { writeAppTree } from './app-tree.ts';
import { composeError } from './errors.ts';
import { type LoadOptions, loadProject } from './load.ts';
import { closeImages, type ImageEvent, type PlannedImage, planImages, storeImages } from './pack-images.ts';
import { imageKey, storeImages as imagesOfStore, isSingleFile, type PinnedCompose, pinnedCompose, pinnedReference, wantedImages } from './pack-pins.ts';
import { shippedVariables, variableFilesOf } from './pack-variables.ts';
import { type CollectedFiles, collectProjectFiles } from './project-files.ts';
import type { Project } from './types.ts';

export interface PackOptions {
  repoPath: string;
  branch: string;
  project: LoadOptions;
  /** Of images whose service names none. */
  platform: WantedPlatform;
  /** Reads an image from another place than its reference names: reference → place (`oci:DIR`, `docker-archive:FILE`, …). */
  imageSources?: ReadonlyMap<string, string>;
  registry?: RegistryClientOptions;
  includeSecrets?: boolean;
  signBy?: { keyId: string; homeDirectory?: string };
  /** Seconds since 1970. */
  timestamp: bigint;
  /** Says what would be fetched and written; writes nothing, creates nothing. */
  dryRun?: boolean;
  /** Layers fetched at a time. */
  concurrency?: number;
  /** Threads that hash and compress; as many as processors by default. */
  workers?: number;
  /** Largest uncompressed layer. */
  layerLimitBytes?: number;
  /** Where compressed image archives are unpacked meanwhile; without it they are refused. */
  temporaryDirectory?: string;
  signal?: AbortSignal;
  on?: (event: PackEvent) => void;
}

export type PackEvent = ImageEvent | { type: 'repo-created'; path: string } | { type: 'warning'; message: string };

export interface PackedImage {
  reference: string;
  services: readonly string[];
  /** What stands in the packed compose file: `docker.io/library/nginx:1.25@sha256:…`. */
  pinned: string;
  /** Of the index, or of the manifest where there is none. */
  digest: string;
  platform: string;
  layers: { diffId: string; digest: string; sizeBytes: number; known: boolean }[];
  /** Compressed bytes of the layers that the repository does not know. */
  fetchBytes: number;
  /**
   * About what the repository grows by for it: nothing for an image it knows, else the compressed size of the missing layers, or
   * {@link BARE_EXPANSION} times that where the repository stores files uncompressed. Files that it has already are not written
   * again, which is not known before, so it may be less.
   */
  estimatedWriteBytes: number;
  /** Entries OSTree cannot hold: device nodes, FIFOs, sockets. Empty in a dry run. */
  skipped: readonly { path: string; kind: string }[];
}

export interface PackResult {
  /** Absent in a dry run. */
  commit?: Checksum;
  branch: string;
  app: string;
  repoPath: string;
  repoCreated: boolean;
  /** True when the branch already held exactly this app. */
  unchanged: boolean;
  dryRun: boolean;
  images: PackedImage[];
  fetchBytes: number;
  /** Summed over the images, and the app's own files with them. */
  estimatedWriteBytes: number;
  /** Paths outside the project that must exist on the device. */
  hostPaths: CollectedFiles['hostPaths'];
  /** Files of the model that are not packed. */
  leftOut: CollectedFiles['leftOut'];
  /** Images that stand in the packed compose file and are not packed: those of services whose profiles are not wanted. */
  notPacked: { reference: string; services: readonly string[] }[];
  /** Packed files of variables, `.env` included: who reads the repository reads them. */
  variableFiles: string[];
  /** Whether the packed compose file is the source with other images, or the resolved model. */
  composeForm: PinnedCompose['form'];
  /**
   * Variables, images apart. As written: those whose value is in no packed file, so that the device decides them.
   * Resolved: those whose value stands in the packed compose file.
   */
  variables: string[];
  stats?: TransactionStats;
}

/** How much larger layers are than their gzip, rounded up: 2.7 for the three Debian images of the benchmark. */
export const BARE_EXPANSION = 3;

/** Enough to keep a connection and two processors busy to the end; more only adds memory. */
const DEFAULT_CONCURRENCY = 3;

/**
 * Packs an app and returns what was done. Only complete commits get a ref; layers that arrived whole before the network
 * failed are kept for the next run.
 *
 * @throws COMPOSE_…, OCI_…, BRIDGE_…, OSTREE_…, TRUST_… and SYSTEM_… codes
 */
export async function packApp(options: PackOptions): Promise<PackResult> {
  const { signal } = options;
  const on = options.on ?? (() => undefined);
  const project = await loadProject(options.project);
  const files = await collectProjectFiles(project, { includeSecrets: options.includeSecrets, sourceFiles: isSingleFile(project), signal });
  for (const { message } of [...project.warnings, ...files.warnings]) on({ type: 'warning', message });
  const app = appName(project);
  const wanted = wantedImages(project, options);
  // Asked before anything is fetched: the signature comes at the very end.
  if (options.signBy !== undefined && options.dryRun !== true) await requireGpgSecretKey({ ...options.signBy, signal });

  const existing = await openRepo(options.repoPath);
  const registry = createRegistryClient(options.registry);
  try {
    const places = { registry, signal, temporaryDirectory: options.temporaryDirectory };
    const images = await planImages(existing, wanted, places, options.concurrency ?? DEFAULT_CONCURRENCY, on, signal);
    try {
      const expansion = existing === undefined || existing.mode === 'archive' ? 1 : BARE_EXPANSION;
      const packed = images.map((image) => packedImage(image, expansion));
      const pins = new Map(images.map((image) => [imageKey(image.reference, image.platformText), pinnedReference(image)]));
      const compose = pinnedCompose(project, options.project.stdin, pins, (message) => on({ type: 'warning', message }));
      const notPacked = compose.unpinned.map(({ reference, services }) => ({ reference, services }));
      if (notPacked.length > 0) on({ type: 'warning', message: notPackedWarning(notPacked) });
      const plan: PackResult = {
        branch: options.branch,
        app,
        repoPath: options.repoPath,
        repoCreated: existing === undefined,
        unchanged: false,
        dryRun: options.dryRun ?? false,
        images: packed,
        fetchBytes: packed.reduce((sum, image) => sum + image.fetchBytes, 0),
        estimatedWriteBytes: [...packed.map((image) => image.estimatedWriteBytes), ...files.files.map((file) => file.sizeBytes)].reduce((a, b) => a + b, 0),
        hostPaths: files.hostPaths,
        leftOut: files.leftOut,
        notPacked,
        variableFiles: variableFilesOf(project, files),
        composeForm: compose.form,
        variables: shippedVariables(project, compose.form, { files, given: options.project.environment }),
      };
      if (plan.dryRun) return plan;
      const repo = existing ?? (await Repo.init(options.repoPath, { mode: 'archive' }));
      if (existing === undefined) on({ type: 'repo-created', path: options.repoPath });
      return await writeApp(repo, options, plan, images, { files, composeText: compose.text }, on).catch((error: unknown) => {
        throw systemError(error, `Cannot write to repository "${repo.path}"`) ?? error;
      });
    } finally {
      await closeImages(images);
    }
  } finally {
    await registry.close();
  }
}

function notPackedWarning(images: PackResult['notPacked']): string {
  const list = images.map(({ reference, services }) => `${reference} (${services.join(', ')})`).join(', ');
  return `The packed compose file names images that are not packed, as their services are of other profiles: ${list}; a device would pull them, unpinned`;
}

/** Returns the repository, or undefined where there is none yet. */
async function openRepo(path: string): Promise<Repo | undefined> {
  try {
    return await Repo.open(path);
  } catch (error) {
    if (isKnownError(error, 'OSTREE_REPO_NOT_FOUND')) return undefined;
    throw error;
  }
}

async function writeApp(
  repo: Repo,
  options: PackOptions,
  plan: PackResult,
  images: readonly PlannedImage[],
  content: { files: CollectedFiles; composeText: string },
  on: (event: PackEvent) => void,
): Promise<PackResult> {
  const { signal } = options;
  const transaction = await Transaction.begin(repo, { signal, workers: options.workers });
  try {
    const stored = await storeImages(repo, transaction, images, options.concurrency ?? DEFAULT_CONCURRENCY, on, options);
    const pinned = Object.fromEntries(plan.images.map((image) => [image.reference, image.pinned]));
    const description = stableJson({ precompose: { app: plan.app, images: pinned, version: 0 } });
    const store = await writePodmanStore(transaction, imagesOfStore(images, stored));
    const root = await writeAppTree(transaction, { app: plan.app, store, composeText: content.composeText, files: content.files.files, description });
    const result = { ...plan, images: plan.images.map((image, i) => ({ ...image, skipped: (stored[i] as StoredImage).skipped })) };

    const parent = repo.refs.read(options.branch);
    const before = parent !== undefined && repo.hasObject('commit', parent) ? repo.readCommit(parent) : undefined;
    const appImages = appImagesFor(result, stored);
    // A commit that does not say which images it was made of would let `clean` drop them.
    const unchanged =
      parent !== undefined && before?.root.tree === root.tree && before.root.meta === root.meta && stableJson(appImagesOf(before)) === stableJson(appImages);
    const commit = unchanged ? parent : writeAppCommit(transaction, options, result, appImages, { root, body: description, parent });
    if (options.signBy !== undefined) await sign(transaction, commit, options.signBy, signal);
    transaction.setRef(options.branch, commit);
    return { ...result, commit, unchanged, stats: await transaction.commit() };
  } catch (error) {
    if (mayKeepLayers(error) && signal?.aborted !== true) await keepLayers(transaction, error);
    throw error;
  } finally {
    await transaction.abort();
  }
}

/** Only where the repository itself failed is there no sense in writing more to it. */
function mayKeepLayers(error: unknown): boolean {
  return isKnownError(error) && !/^(OSTREE|SYSTEM)_/.test(error.code);
}

/** What is whole stays, under its refs: another try then fetches only the rest. */
async function keepLayers(transaction: Transaction, cause: unknown): Promise<void> {
  try {
    await transaction.commit();
  } catch {
    // The first failure is the one to report.
    throw cause;
  }
}

function appImagesFor(result: PackResult, stored: readonly StoredImage[]): AppImage[] {
  return result.images.map(({ reference, pinned }, i) => {
    const { manifest, diffIds } = stored[i] as StoredImage;
    return { reference, pinned, manifest: manifest.digest, diffIds };
  });
}

function writeAppCommit(
  transaction: Transaction,
  options: PackOptions,
  result: PackResult,
  images: readonly AppImage[],
  content: { root: TreeRoot; body: string; parent: Checksum | undefined },
): Checksum {
  return writeCommitObject(transaction, {
    ...content,
    subject: `precompose of ${result.app}`,
    timestamp: options.timestamp,
    bindRefs: [options.branch],
    collectionId: transaction.repo.settings.collectionId,
    metadata: [
      ['cambium.app', new Variant('s', result.app)],
      ['cambium.platform', new Variant('s', printPlatform(options.platform))],
      appImagesMetadata(images),
      [
        'cambium.skipped',
        new Variant(
          'a(sss)',
          result.images.flatMap(({ reference, skipped }) => skipped.map(({ path, kind }) => [reference, path, kind])),
        ),
      ],
      [
        'cambium.left-out',
        new Variant(
          'as',
          result.leftOut.map(({ path }) => path),
        ),
      ],
    ],
  });
}

/** Signs before the ref moves: nobody sees an unsigned commit under the branch. One signature of a key is enough. */
async function sign(
  transaction: Transaction,
  commit: Checksum,
  key: { keyId: string; homeDirectory?: string },
  signal: AbortSignal | undefined,
): Promise<void> {
  const { repo } = transaction;
  try {
    transaction.setDetachedMetadata(commit, await signCommitBytes(repo.readMetadata('commit', commit), repo.readDetachedMetadata(commit), key, signal));
  } catch (error) {
    if (!isKnownError(error, 'OSTREE_SIGNATURE_EXISTS')) throw error;
  }
}

function packedImage(image: PlannedImage, expansion: number): PackedImage {
  return {
    reference: image.reference,
    services: image.services,
    pinned: pinnedReference(image),
    digest: image.digest,
    platform: printPlatform(image.platform),
    layers: image.layers.map(({ diffId, descriptor, known }) => ({ diffId, digest: descriptor.digest, sizeBytes: descriptor.size, known })),
    fetchBytes: image.fetchBytes,
    estimatedWriteBytes: image.fetchBytes * expansion,
    skipped: [],
  };
}

/** The app is called as its directory: that is where its files will be. */
function appName(project: Project): string {
  const name = basename(project.directory);
  if (name === '' || name === 'storage' || name === 'precompose.json') {
    throw composeError('COMPOSE_APP_NAME_INVALID', `Cannot pack the project in "${project.directory}": its directory cannot be called "${name}"`, {
      hint: 'Rename the directory, or name another one with --project-directory',
    });
  }
  return name;
}
