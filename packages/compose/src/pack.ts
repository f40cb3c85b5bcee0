/**
 * Packs a Compose app, images included, into an OSTree repository.
 *
 * The commit: `/storage` (a podman image store), `/APP/docker-compose.yml` with pinned images and the files the model
 * refers to, `/precompose.json` (also the commit's body). Format: `docs/formats/app-commit.md`.
 */
import { basename } from 'node:path/posix';
import { type Checksum, isKnownError, stableJson } from '@cambium/base';
import { appImagesMetadata, type StoredImage, writePodmanStore } from '@cambium/bridge';
import { Variant } from '@cambium/gvariant';
import { createRegistryClient, printPlatform, type RegistryClientOptions, type WantedPlatform } from '@cambium/oci';
import { Repo, type Transaction, type TransactionStats, type TreeRoot, writeCommitObject } from '@cambium/ostree';
import { signDetachedWithGpg } from '@cambium/trust';
import { writeAppTree } from './app-tree.ts';
import { composeError } from './errors.ts';
import { type LoadOptions, loadProject } from './load.ts';
import { closeImages, type ImageEvent, type PlannedImage, planImages, storeImages } from './pack-images.ts';
import { imageKey, isSingleFile, pinnedCompose, pinnedReference, storeImage, wantedImages } from './pack-pins.ts';
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
  /** Paths outside the project that must exist on the device. */
  hostPaths: CollectedFiles['hostPaths'];
  /** Files of the model that are not packed. */
  leftOut: CollectedFiles['leftOut'];
  stats?: TransactionStats;
}

/** Enough to keep a connection and two processors busy; more only adds memory. */
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

  const existing = await openRepo(options.repoPath);
  const registry = createRegistryClient(options.registry);
  try {
    const images = await planImages(existing, wanted, { registry, signal }, options.concurrency ?? DEFAULT_CONCURRENCY, on, signal);
    try {
      const plan: PackResult = {
        branch: options.branch,
        app,
        repoPath: options.repoPath,
        repoCreated: existing === undefined,
        unchanged: false,
        dryRun: options.dryRun ?? false,
        images: images.map(packedImage),
        fetchBytes: images.reduce((sum, image) => sum + image.fetchBytes, 0),
        hostPaths: files.hostPaths,
        leftOut: files.leftOut,
      };
      if (plan.dryRun) return plan;
      const pins = new Map(images.map((image) => [imageKey(image.reference, image.platformText), pinnedReference(image)]));
      const composeText = pinnedCompose(project, options.project.stdin, pins, (message) => on({ type: 'warning', message }));
      const repo = existing ?? (await Repo.init(options.repoPath, { mode: 'archive' }));
      if (existing === undefined) on({ type: 'repo-created', path: options.repoPath });
      return await writeApp(repo, options, plan, images, { files, composeText }, on);
    } finally {
      await closeImages(images);
    }
  } finally {
    await registry.close();
  }
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
  const transaction = await repo.transaction({ signal });
  try {
    const stored = await storeImages(repo, transaction, images, options.concurrency ?? DEFAULT_CONCURRENCY, on, signal);
    const pinned = Object.fromEntries(plan.images.map((image) => [image.reference, image.pinned]));
    const description = stableJson({ precompose: { app: plan.app, images: pinned, version: 0 } });
    const store = await writePodmanStore(
      transaction,
      images.map((image, i) => storeImage(image, stored[i] as StoredImage)),
    );
    const root = await writeAppTree(transaction, { app: plan.app, store, composeText: content.composeText, files: content.files.files, description });
    const result = { ...plan, images: plan.images.map((image, i) => ({ ...image, skipped: (stored[i] as StoredImage).skipped })) };

    const parent = repo.refs.read(options.branch);
    const before = parent !== undefined && repo.hasObject('commit', parent) ? repo.readCommit(parent).root : undefined;
    const unchanged = parent !== undefined && before?.tree === root.tree && before.meta === root.meta;
    const commit = unchanged ? parent : writeAppCommit(transaction, options, result, stored, { root, body: description, parent });
    if (options.signBy !== undefined && !(unchanged && signaturesOf(repo, commit).length > 0)) await sign(transaction, commit, options.signBy, signal);
    transaction.setRef(options.branch, commit);
    return { ...result, commit, unchanged, stats: await transaction.commit() };
  } catch (error) {
    // What is whole stays: another try then fetches only the rest.
    if (isKnownError(error) && error.kind === 'network' && signal?.aborted !== true) await transaction.commit();
    throw error;
  } finally {
    await transaction.abort();
  }
}

function writeAppCommit(
  transaction: Transaction,
  options: PackOptions,
  result: PackResult,
  stored: readonly StoredImage[],
  content: { root: TreeRoot; body: string; parent: Checksum | undefined },
): Checksum {
  const images = result.images.map(({ reference, pinned }, i) => {
    const { manifest, diffIds } = stored[i] as StoredImage;
    return { reference, pinned, manifest: manifest.digest, diffIds };
  });
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
      ['cambium.skipped', new Variant('a(sss)', result.images.flatMap(({ reference, skipped }) => skipped.map(({ path, kind }) => [reference, path, kind])))],
      ['cambium.left-out', new Variant('as', result.leftOut.map(({ path }) => path))],
    ],
  });
}

const SIGNATURES_KEY = 'ostree.gpgsigs';

function signaturesOf(repo: Repo, commit: Checksum): Uint8Array[] {
  const value = repo.readDetachedMetadata(commit)?.find(([key]) => key === SIGNATURES_KEY)?.[1].value;
  return (value ?? []) as Uint8Array[];
}

/** Signs before the ref moves: nobody sees an unsigned commit under the branch. */
async function sign(transaction: Transaction, commit: Checksum, key: { keyId: string; homeDirectory?: string }, signal: AbortSignal | undefined): Promise<void> {
  const { repo } = transaction;
  const signature = await signDetachedWithGpg({ data: repo.readMetadata('commit', commit), ...key, ...(signal === undefined ? {} : { signal }) });
  const others = (repo.readDetachedMetadata(commit) ?? []).filter(([name]) => name !== SIGNATURES_KEY);
  transaction.setDetachedMetadata(commit, [...others, [SIGNATURES_KEY, new Variant('aay', [...signaturesOf(repo, commit), signature])]]);
}

function packedImage(image: PlannedImage): PackedImage {
  return {
    reference: image.reference,
    services: image.services,
    pinned: pinnedReference(image),
    digest: image.digest,
    platform: printPlatform(image.platform),
    layers: image.layers.map(({ diffId, descriptor, known }) => ({ diffId, digest: descriptor.digest, sizeBytes: descriptor.size, known })),
    fetchBytes: image.fetchBytes,
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
