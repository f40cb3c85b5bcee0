/** What loading a Compose project gives. */
import type { Position } from './errors.ts';
import type { Path } from './path.ts';

/** A mapping of the model; keys as in the Compose specification. */
export type Mapping = Record<string, unknown>;

/**
 * The merged model in long syntax: every service key has one shape, whatever the files wrote. Local paths are absolute.
 * Services of inactive profiles are not in it. {@link resolvedModel} adds what Compose implies (names, the default network, env files).
 */
export interface Model extends Mapping {
  name: string;
  services: Record<string, Mapping>;
}

export interface SourceFile {
  /** Absolute path, or `-` for standard input. */
  path: string;
  role: 'compose' | 'override' | 'include' | 'extends' | 'env';
}

/** One image with everything that uses it on one platform. */
export interface ImageUse {
  /** As written, after interpolation: `nginx:1.25`, `host:5000/a/b@sha256:…`. */
  reference: string;
  /** Names of the services, sorted. */
  services: string[];
  /** The `platform` of the services, as in `linux/arm64`. */
  platform?: string;
  /** Where in the model the reference stands: `services.web.image`, also volumes of type image. */
  paths: Path[];
}

export type LocalFileKind = 'env_file' | 'label_file' | 'config' | 'secret' | 'bind' | 'extends' | 'include' | 'env';

/** A path on this machine that the model refers to. */
export interface LocalFile {
  kind: LocalFileKind;
  /** Absolute. */
  path: string;
  /** As written, after interpolation. */
  written: string;
  /** False when the project loads and starts without it. */
  required: boolean;
  /** The key that refers to it, as in `services.web.env_file[0]`. */
  key: string;
  position?: Position;
}

/** A directory that images are built from; builds are not packed. */
export interface BuildContext {
  service: string;
  /** Absolute path, or a URL as written. */
  path: string;
  key: string;
}

export interface ComposeWarning {
  code:
    | 'UNSET_VARIABLE'
    | 'OBSOLETE_KEY'
    | 'UNKNOWN_KEY'
    | 'SEVERAL_FILES'
    | 'YAML_BOOLEAN'
    | 'EXTERNAL_NAME'
    | 'FILE_MISSING'
    | 'SECRET_LEFT_OUT'
    | 'SPECIAL_FILE';
  message: string;
  position?: Position;
}

/** Services whose profiles are not active: a compose file that ships as it was written still has them. */
export interface InactiveServices {
  images: ImageUse[];
  /** Those that refer to local files or directories of their own, which tools want to see whatever the profile; sorted. */
  needFiles: string[];
}

export interface Project {
  name: string;
  /** Absolute; relative paths of the compose files start here. */
  directory: string;
  model: Model;
  /** Every file read, in the order of reading; the first is the main compose file. */
  files: SourceFile[];
  images: ImageUse[];
  /** What the profiles leave out of the model. */
  inactive: InactiveServices;
  /** Services with a build and no image. */
  buildOnly: string[];
  localFiles: LocalFile[];
  buildContexts: BuildContext[];
  /** All profiles that services name, sorted. */
  profiles: string[];
  /** Variables that had a value where the files use them, images apart; sorted. */
  variables: string[];
  /** What variables were looked up in: the given environment over env files. */
  environment: Record<string, string>;
  warnings: ComposeWarning[];
}
