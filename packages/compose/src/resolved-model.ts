/** Adds to a model what Compose implies. Source: compose-go `loader/normalize.go`, `types/project.go`. */
import { isRecord } from '@cambium/base';
import { parseEnvFile } from './env-file.ts';
import { lookupIn } from './interpolate.ts';
import { pathText } from './path.ts';
import { readText } from './source-file.ts';
import type { Mapping, Model, Project } from './types.ts';
import { listOf } from './validate.ts';

export interface ResolveOptions {
  /** False leaves `env_file` and variables without a value as they are. */
  environment?: boolean;
}

/**
 * Returns what `docker compose config` shows: env files and label files read into the services, names of networks and volumes,
 * the default network, dependencies that links and shared namespaces imply. The project is not changed.
 *
 * @throws COMPOSE_FILE_MISSING, COMPOSE_ENV_FILE_INVALID
 */
export async function resolvedModel(project: Project, options: ResolveOptions = {}): Promise<Model> {
  const model = structuredClone(project.model);
  for (const [name, service] of Object.entries(model.services)) {
    if (options.environment !== false) {
      resolveEnvironment(name, service, project);
      resolveLabels(name, service, project);
    }
    impliedDependencies(service);
    for (const secret of listOf(service.secrets)) if (isRecord(secret)) secret.target ??= `/run/secrets/${String(secret.source)}`;
  }
  defaultNetwork(model);
  for (const section of ['networks', 'volumes', 'configs', 'secrets'] as const) {
    const entries = model[section];
    if (!isRecord(entries)) continue;
    for (const [key, value] of Object.entries(entries)) {
      if (key.startsWith('x-')) continue;
      const resource: Mapping = isRecord(value) ? value : {};
      resource.name ??= resource.external === true ? key : `${project.name}_${key}`;
      entries[key] = resource;
    }
  }
  return model;
}

/** `environment` wins over env files, later env files over earlier ones. */
function resolveEnvironment(name: string, service: Mapping, project: Project): void {
  const outer = lookupIn(project.environment);
  const own = isRecord(service.environment) ? service.environment : {};
  const result: Mapping = {};
  const fromOwn = (variable: string): string | undefined => (typeof own[variable] === 'string' ? own[variable] : undefined);
  listOf(service.env_file).forEach((entry, i) => {
    if (!isRecord(entry)) return;
    const text = readReferred(String(entry.path), entry.required !== false, ['services', name, 'env_file', i], project);
    if (text === undefined) return;
    const variables = parseEnvFile(text, { file: String(entry.path), raw: entry.format === 'raw', lookup: (variable) => outer(variable) ?? fromOwn(variable) });
    for (const [key, value] of variables) if (key !== '__proto__') result[key] = value;
  });
  for (const [key, value] of Object.entries(own)) {
    // A name without a value is passed through, and absent when it is not set.
    const resolved = value === null ? outer(key) : value;
    if (resolved === undefined) {
      if (!Object.hasOwn(result, key)) result[key] = null;
    } else result[key] = resolved;
  }
  delete service.env_file;
  if (Object.keys(result).length > 0 || service.environment !== undefined) service.environment = result;
  if (isRecord(service.build) && isRecord(service.build.args)) {
    for (const [key, value] of Object.entries(service.build.args)) {
      if (value !== null) continue;
      const resolved = outer(key);
      if (resolved === undefined) delete service.build.args[key];
      else service.build.args[key] = resolved;
    }
  }
}

function resolveLabels(name: string, service: Mapping, project: Project): void {
  const files = listOf(service.label_file);
  if (files.length === 0) return;
  const labels: Mapping = {};
  files.forEach((path, i) => {
    const text = readReferred(String(path), true, ['services', name, 'label_file', i], project) ?? '';
    for (const [key, value] of parseEnvFile(text, { file: String(path), lookup: lookupIn(project.environment) })) if (key !== '__proto__') labels[key] = value;
  });
  delete service.label_file;
  service.labels = { ...labels, ...(isRecord(service.labels) ? service.labels : {}) };
}

function readReferred(path: string, required: boolean, at: (string | number)[], project: Project): string | undefined {
  const key = pathText(at);
  const position = project.localFiles.find((file) => file.key === key)?.position;
  try {
    return readText(path, { referredFrom: { key, position } });
  } catch (error) {
    if (!required && error instanceof Error && 'code' in error && error.code === 'COMPOSE_FILE_MISSING') return undefined;
    throw error;
  }
}

function impliedDependencies(service: Mapping): void {
  const known = isRecord(service.depends_on) ? service.depends_on : {};
  const add = (name: string, restart: boolean): void => {
    if (!Object.hasOwn(known, name)) known[name] = { condition: 'service_started', restart, required: true };
  };
  for (const link of listOf(service.links)) add(String(link).split(':', 1)[0] as string, true);
  for (const key of ['network_mode', 'ipc', 'pid', 'uts', 'cgroup']) {
    const value = service[key];
    if (typeof value === 'string' && value.startsWith('service:')) add(value.slice('service:'.length), true);
  }
  for (const entry of listOf(service.volumes_from)) if (!String(entry).startsWith('container:')) add(String(entry).split(':', 1)[0] as string, false);
  if (Object.keys(known).length > 0) service.depends_on = known;
}

function defaultNetwork(model: Model): void {
  let used = false;
  for (const service of Object.values(model.services)) {
    if (service.provider !== undefined || service.network_mode !== undefined) continue;
    if (!isRecord(service.networks) || Object.keys(service.networks).length === 0) service.networks = { default: null };
    if (Object.hasOwn(service.networks as Mapping, 'default')) used = true;
  }
  if (!used) return;
  const networks = isRecord(model.networks) ? model.networks : {};
  if (!Object.hasOwn(networks, 'default')) networks.default = null;
  model.networks = networks;
}
