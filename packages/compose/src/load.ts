/**
 * Loads a Compose project: finds its files, reads, interpolates, includes, extends, merges and checks them.
 *
 * Source: the Compose specification, as compose-go implements it (`loader/loader.go`).
 */
import { basename, dirname } from 'node:path/posix';
import { compareUtf8, isRecord } from '@cambium/base';
import { canonicalDocument, modernExternal } from './canonical.ts';
import { interpolateDocument } from './cast.ts';
import { documentFault, type Scope, Session } from './context.ts';
import { composeError, faultAt } from './errors.ts';
import { applyExtends, type ExtendsSource, type LoadServices } from './extends.ts';
import { findFiles, profilesFromEnvironment } from './find-files.ts';
import { checkIncludeCycle, isRemote, readIncludes, realFile } from './include.ts';
import { interpolate, lookupIn } from './interpolate.ts';
import { applyResets, enforceUnique, mergeModels } from './merge.ts';
import { pathText } from './path.ts';
import { isActive, profileNames } from './profiles.ts';
import { checkProjectName, normalizeProjectName } from './project-name.ts';
import { buildContextsOf, imagesOf, localFilesOf } from './references.ts';
import { readText } from './source-file.ts';
import type { InactiveServices, Mapping, Model, Project, SourceFile } from './types.ts';
import { checkTopLevel, validateModel } from './validate.ts';
import { readYaml, type SourceDocument, YAML_LIMITS } from './yaml-source.ts';

/** docker-compose 1.29 refuses a file in which one of these leads nowhere, though the service's profile is not active. */
const FILE_KEYS = ['build', 'env_file'] as const;

export interface LoadOptions {
  /** Compose files, the later overriding the earlier; relative to the working directory; `-` stands for `stdin`. Found by name when left out. */
  files?: readonly string[] | undefined;
  /** Where relative paths start; by default the directory of the first file. */
  projectDirectory?: string | undefined;
  /** Absolute; where the user stands. */
  workingDirectory: string;
  /** The environment variables: the process's own are never read. */
  environment: Readonly<Record<string, string>>;
  /** Instead of `.env` of the project directory; later files win. */
  envFiles?: readonly string[] | undefined;
  /**
   * Active profiles; services of others are left out. By default everything takes part, whatever its profiles, as a packer needs it;
   * `environment` takes `COMPOSE_PROFILES`.
   */
  profiles?: readonly string[] | 'environment' | undefined;
  projectName?: string | undefined;
  /** False keeps `${…}` as written, and then does not check what it stands in. */
  interpolate?: boolean | undefined;
  /** Text of the compose file `-`. */
  stdin?: string | undefined;
}

/**
 * Returns the project. Only files are read; nothing is executed, and no network is used.
 *
 * @throws KnownError with a `COMPOSE_…` code; `data` has file, line and column where they are known
 *
 * @example
 * const project = await loadProject({ workingDirectory: '/srv/shop', environment: { TAG: '1.25' } });
 * project.images; // [{ reference: 'nginx:1.25', services: ['web'], paths: [['services', 'web', 'image']] }]
 */
export async function loadProject(options: LoadOptions): Promise<Project> {
  const session = new Session();
  const found = findFiles(options);
  for (const warning of found.warnings) session.warn(warning);
  const { directory, environment } = found;
  const sources = found.files.map((file, i) => readSource(file, i === 0 ? 'compose' : 'override', options.stdin, session));
  for (const path of found.envFiles) session.read({ path, role: 'env' });

  const name = projectName(options, sources, directory, environment);
  environment.COMPOSE_PROJECT_NAME = name;
  const scope: Scope = { session, directory, environment, interpolate: options.interpolate !== false };
  const loader = new Loader(scope);
  const stack = found.files.slice(0, 1).map(realFile);
  const merged = loader.merge(sources, scope, stack);

  const services = isRecord(merged.services) ? merged.services : {};
  if (Object.keys(services).length === 0) {
    throw composeError('COMPOSE_SERVICES_MISSING', `Cannot load "${found.files[0] ?? '-'}": it has no services`, { data: { file: found.files[0] } });
  }
  modernExternal(
    merged,
    (message) => session.warn({ code: 'EXTERNAL_NAME', message }),
    (path, reason) => faultAt('COMPOSE_MODEL_INVALID', session.position(path), `Cannot load ${pathText(path)}: ${reason}`),
  );
  const { version: _version, include: _include, ...rest } = merged;
  const active = options.profiles === 'environment' ? profilesFromEnvironment(environment) : options.profiles;
  const kept = Object.entries(services).filter(([, service]) => active === undefined || isActive(service as Mapping, active));
  const model = { ...rest, name, services: Object.fromEntries(kept) as Record<string, Mapping> } satisfies Model as Model;
  const disabled = new Set(Object.keys(services).filter((key) => !Object.hasOwn(model.services, key)));
  setDefaults(model);
  validateModel(model, disabled, session, !scope.interpolate);
  for (const path of found.envFiles) {
    session.localFiles.push({ kind: 'env', path, written: basename(path), required: false, key: options.envFiles === undefined ? '.env' : '--env-file' });
  }
  return {
    name,
    directory,
    model,
    files: session.files,
    images: imagesOf(model),
    inactive: inactiveServices(services, disabled, name),
    buildOnly: Object.entries(model.services)
      .filter(([, service]) => isRecord(service.build) && (service.image === undefined || service.image === null))
      .map(([key]) => key)
      .sort(),
    localFiles: localFilesOf(model, session),
    buildContexts: buildContextsOf(model),
    profiles: profileNames(services),
    variables: [...session.variables].sort(compareUtf8),
    environment,
    warnings: session.warnings,
  };
}

function inactiveServices(services: Mapping, names: ReadonlySet<string>, name: string): InactiveServices {
  const inactive = Object.fromEntries(Object.entries(services).filter(([key, service]) => names.has(key) && isRecord(service))) as Record<string, Mapping>;
  const needFiles = Object.entries(inactive).filter(([, service]) => FILE_KEYS.some((key) => service[key] !== undefined && service[key] !== null));
  return { images: imagesOf({ name, services: inactive }), needFiles: needFiles.map(([key]) => key).sort(compareUtf8) };
}

interface Source {
  file: string;
  documents: SourceDocument[];
}

function readSource(
  file: string,
  role: SourceFile['role'],
  stdin: string | undefined,
  session: Session,
  referredFrom?: Parameters<typeof readText>[1],
): Source {
  session.read({ path: file, role });
  if (file === '-' && stdin === undefined) throw composeError('COMPOSE_FILE_NOT_FOUND', 'Cannot read the compose file "-": no standard input was given');
  const text = file === '-' ? (stdin as string) : readText(file, { limitBytes: YAML_LIMITS.maxBytes, ...referredFrom });
  const documents = readYaml(text, file);
  // Every value costs at least a character, so this bounds what aliases made of it only by the limit per document.
  session.spend(documents.reduce((sum, document) => sum + countValues(document.value), 0));
  return { file, documents };
}

function countValues(value: unknown): number {
  let count = 1;
  if (Array.isArray(value)) for (const item of value) count += countValues(item);
  else if (isRecord(value)) for (const key of Object.keys(value)) count += countValues(value[key]);
  return count;
}

/** `-p`, then COMPOSE_PROJECT_NAME, then the last `name:`, then the directory. */
function projectName(options: LoadOptions, sources: readonly Source[], directory: string, environment: Readonly<Record<string, string>>): string {
  if (options.projectName !== undefined && options.projectName !== '') return checkProjectName(options.projectName, 'the command line');
  const given = Object.hasOwn(environment, 'COMPOSE_PROJECT_NAME') ? environment.COMPOSE_PROJECT_NAME : undefined;
  if (given !== undefined && given !== '') return checkProjectName(given, 'COMPOSE_PROJECT_NAME');
  let written = '';
  for (const source of sources) {
    for (const document of source.documents) {
      const value = isRecord(document.value) ? document.value.name : undefined;
      if (typeof value !== 'string' || value === '') continue;
      try {
        written = options.interpolate === false ? value : interpolate(value, lookupIn(environment));
      } catch {
        // Reported with its place when the document is interpolated.
      }
    }
  }
  const name = normalizeProjectName(written) || normalizeProjectName(basename(directory));
  if (name === '') {
    throw composeError('COMPOSE_PROJECT_NAME_INVALID', `Cannot make a project name of the directory "${directory}"`, {
      hint: 'Give one with -p, or with "name:" in the compose file',
    });
  }
  return name;
}

class Loader {
  readonly #extended = new Map<string, ExtendsSource>();
  readonly #root: Scope;

  constructor(root: Scope) {
    this.#root = root;
  }

  /** Returns the model of several files, the later overriding the earlier. */
  merge(sources: readonly Source[], scope: Scope, stack: readonly string[]): Mapping {
    let model: Mapping = {};
    for (const source of sources) {
      for (const document of source.documents) {
        // An empty document between two "---" changes nothing.
        if (document.value === null) continue;
        scope.session.documents.push(document);
        const value = this.#document(document, source.file, scope, stack);
        applyResets(model, document.resets);
        model = mergeModels(model, value, (path) =>
          documentFault('COMPOSE_MERGE_CONFLICT', document, path, 'cannot override another kind of value of an earlier file'),
        );
        enforceUnique(model);
      }
    }
    return model;
  }

  #document(document: SourceDocument, file: string, scope: Scope, stack: readonly string[]): Mapping {
    if (scope.interpolate) interpolateDocument(document, scope);
    const value = canonicalDocument(document, scope);
    checkTopLevel(value, scope.session, file);
    for (const include of readIncludes(document, scope)) {
      const session = scope.session;
      checkIncludeCycle(realFile(include.files[0] as string), stack);
      const inner: Scope = { session, directory: include.directory, environment: include.environment, interpolate: scope.interpolate };
      const { depth: _depth, ...position } = document.position(['include']);
      for (const path of include.envFiles) {
        session.read({ path, role: 'env' });
        session.localFiles.push({
          kind: 'env',
          path,
          written: include.written.get(path) ?? basename(path),
          required: false,
          key: `${include.key}.env_file`,
          position,
        });
      }
      const sources = include.files.map((path) => {
        session.localFiles.push({ kind: 'include', path, written: include.written.get(path) ?? path, required: true, key: include.key, position });
        return readSource(path, 'include', undefined, session, { referredFrom: { key: include.key, position } });
      });
      const included = this.merge(sources, inner, [...stack, realFile(include.files[0] as string)]);
      importModel(value, included, document);
    }
    delete value.include;
    if (isRecord(value.services)) {
      applyExtends({ file, services: value.services, document }, scope, this.#services);
      for (const service of Object.values(value.services)) if (isRecord(service)) delete service.extends;
    }
    enforceUnique(value);
    return value;
  }

  /** Services of a file that others extend: its own variables and paths, no includes, not extended yet. */
  readonly #services: LoadServices = (file, from) => {
    const known = this.#extended.get(file);
    if (known !== undefined) return known;
    const { depth: _depth, ...position } = from.document.position(from.path);
    if (isRemote(file)) throw faultAt('COMPOSE_REMOTE_UNSUPPORTED', position, `Cannot extend from "${file}": not a local file`);
    const { session } = this.#root;
    const scope: Scope = { ...this.#root, directory: dirname(file) };
    const source = readSource(file, 'extends', undefined, session, { referredFrom: { key: from.key, position } });
    session.localFiles.push({
      kind: 'extends',
      path: file,
      written: session.written.get(`extends ${file}`)?.text ?? file,
      required: true,
      key: from.key,
      position,
    });
    let model: Mapping = {};
    let last: SourceDocument | undefined;
    for (const document of source.documents) {
      if (document.value === null) continue;
      if (scope.interpolate) interpolateDocument(document, scope);
      const value = canonicalDocument(document, scope);
      applyResets(model, document.resets);
      model = mergeModels(model, value, (path) => documentFault('COMPOSE_MERGE_CONFLICT', document, path, 'cannot override another kind of value'));
      enforceUnique(model);
      last = document;
    }
    if (last === undefined || !isRecord(model.services)) {
      throw faultAt('COMPOSE_EXTENDS_MISSING', position, `Cannot extend from "${file}": it has no services`, { data: { file } });
    }
    const result: ExtendsSource = { file, services: model.services, document: last };
    this.#extended.set(file, result);
    return result;
  };
}

/** Adds what an included project defines; where both define something, the including file overrides it. */
function importModel(value: Mapping, included: Mapping, document: SourceDocument): void {
  for (const section of ['services', 'volumes', 'networks', 'secrets', 'configs', 'models']) {
    const from = included[section];
    if (!isRecord(from)) continue;
    const own = isRecord(value[section]) ? value[section] : {};
    applyResets({ [section]: from }, document.resets);
    value[section] = mergeModels({ [section]: from }, { [section]: own }, (path) =>
      documentFault('COMPOSE_MERGE_CONFLICT', document, path, 'cannot override another kind of value of an included file'),
    )[section];
  }
}

/** Sets what the long syntax leaves open. Source: compose-go `transform/defaults.go`. */
function setDefaults(model: Model): void {
  for (const service of Object.values(model.services)) {
    for (const condition of Object.values(isRecord(service.depends_on) ? service.depends_on : {})) {
      if (!isRecord(condition)) continue;
      condition.condition ??= 'service_started';
      condition.required ??= true;
    }
    for (const port of Array.isArray(service.ports) ? service.ports : []) {
      if (!isRecord(port)) continue;
      port.protocol ??= 'tcp';
      port.mode ??= 'ingress';
    }
    for (const volume of Array.isArray(service.volumes) ? service.volumes : []) {
      if (isRecord(volume) && isRecord(volume.bind)) volume.bind.create_host_path ??= true;
    }
    if (isRecord(service.build)) {
      service.build.context ??= '.';
      if (service.build.dockerfile_inline === undefined) service.build.dockerfile ??= 'Dockerfile';
    }
    // An empty value stands for "not given" everywhere but in environments, where it is text.
    for (const key of Object.keys(service)) if (service[key] === null) delete service[key];
  }
}

export type { Project } from './types.ts';
