/** What an encapsulated image says of its commit: labels, which are annotations too, and the configuration. */
import type { Checksum } from '@cambium/base';
import type { ImageConfig } from '@cambium/oci';
import { type Commit, metadataValue } from '@cambium/ostree';
import { bridgeError } from '../errors.ts';

const COMMIT_LABEL = 'ostree.commit';
export const FINAL_DIFF_ID_LABEL = 'ostree.final-diffid';
/** On each chunk layer: the names of its components, apart by commas. */
export const COMPONENTS_ANNOTATION = 'ostree.components';

export interface LabelOptions {
  /** Win over everything else. */
  labels?: Readonly<Record<string, string>> | undefined;
  /** Text metadata of the commit that becomes labels; those of the second list may be missing. */
  copyMeta?: readonly string[] | undefined;
  copyMetaOptional?: readonly string[] | undefined;
}

/** Returns the labels of a commit's image, without the one that names its last layer. @throws BRIDGE_COMMIT_META_MISSING */
export function labelsOf(checksum: Checksum, { metadata }: Commit, options: LabelOptions): Record<string, string> {
  const labels: Record<string, string> = { [COMMIT_LABEL]: checksum };
  for (const key of options.copyMetaOptional ?? []) {
    const value = metadataValue<string>(metadata, key, 's');
    if (value !== undefined) labels[key] = value;
  }
  for (const key of options.copyMeta ?? []) {
    const value = metadataValue<string>(metadata, key, 's');
    if (value === undefined)
      throw bridgeError('BRIDGE_COMMIT_META_MISSING', `Cannot copy "${key}": commit ${checksum} has no such text in its metadata`, { data: { key } });
    labels[key] = value;
  }
  const linux = metadataValue<string>(metadata, 'ostree.linux', 's');
  if (linux !== undefined) labels['ostree.linux'] = linux;
  const bootable = metadataValue<boolean>(metadata, 'ostree.bootable', 'b');
  if (bootable !== undefined) {
    labels['ostree.bootable'] = String(bootable);
    labels['containers.bootc'] = '1';
  }
  const version = metadataValue<string>(metadata, 'version', 's');
  if (version !== undefined) labels['org.opencontainers.image.version'] = version;
  return { ...labels, ...options.labels };
}

export interface ConfigInput {
  commit: Commit;
  /** Time of the image; that of the commit unless stated. */
  created?: string | undefined;
  os: string;
  architecture: string;
  variant?: string | undefined;
  /** The `config` object to begin with. */
  base?: Readonly<Record<string, unknown>> | undefined;
  /** In place of the commit's own. */
  cmd?: readonly string[] | undefined;
  labels: Readonly<Record<string, string>>;
  /** Bottom to top. */
  layers: readonly { diffId: string; createdBy: string }[];
}

/** Returns the image configuration. */
export function configOf(input: ConfigInput): ImageConfig {
  const created = input.created ?? `${new Date(Number(input.commit.timestamp) * 1000).toISOString().slice(0, 19)}Z`;
  const cmd = input.cmd ?? metadataValue<readonly string[]>(input.commit.metadata, 'ostree.container-cmd', 'as');
  const labels = { ...(input.base?.Labels as Record<string, string> | undefined), ...input.labels };
  return {
    architecture: input.architecture,
    os: input.os,
    ...(input.variant === undefined ? {} : { variant: input.variant }),
    created,
    config: { ...input.base, ...(cmd === undefined ? {} : { Cmd: cmd }), Labels: labels },
    rootfs: { type: 'layers', diff_ids: input.layers.map(({ diffId }) => diffId) as ImageConfig['rootfs']['diff_ids'] },
    history: input.layers.map(({ createdBy }) => ({ created, created_by: createdBy })),
  };
}
