/**
 * The resolved model as a file to ship: paths relative to the project directory, images pinned, and every value in the form
 * that the most readers understand (docker-compose 1.29 and podman-compose 1.0.3 know few of the long forms).
 */
import { existsSync } from 'node:fs';
import { basename, relative } from 'node:path/posix';
import { isRecord } from '@cambium/base';
import { normalizeProjectName } from './project-name.ts';
import { eachImage, eachLocalPath } from './references.ts';
import type { Mapping, Model, Project } from './types.ts';

export interface PortableOptions {
  /** Returns what an image reference becomes. */
  pin?: (use: { service: string; reference: string; platform?: string }) => string;
}

/**
 * Returns a copy of the project's model to print with `printModel`; builds and development settings are left out.
 * The name is kept only where it is another than the directory's, because docker-compose 1.29 refuses the key.
 */
export function portableModel(project: Project, options: PortableOptions = {}): Mapping & { services: Model['services'] } {
  const { name, ...model } = structuredClone(project.model) as Model & { services: Model['services'] };
  const named = name === normalizeProjectName(basename(project.directory)) ? model : { name, ...model };
  change(named as Model, project, options);
  return named as Mapping & { services: Model['services'] };
}

function change(model: Model, project: Project, options: PortableOptions): void {
  if (options.pin !== undefined) {
    const pin = options.pin;
    eachImage(model, (service, reference, _path, holder, key) => {
      const platform = model.services[service]?.platform;
      holder[key] = pin({ service, reference, ...(typeof platform === 'string' ? { platform } : {}) });
    });
  }
  for (const service of Object.values(model.services)) dropMissing(service);
  eachLocalPath(model, (_kind, _path, holder, key) => {
    const record = holder as Mapping;
    record[key as string] = relativePath(project.directory, String(record[key as string]));
  });
  for (const service of Object.values(model.services)) shorten(service);
}

/** Returns `./x` for paths in the directory, and the path itself for others. */
export function relativePath(directory: string, path: string): string {
  if (!path.startsWith('/')) return path;
  const inside = relative(directory, path);
  if (inside === '') return '.';
  return inside === '..' || inside.startsWith('../') ? path : `./${inside}`;
}

/** An optional env file that is not there cannot be said in the short form. */
function dropMissing(service: Mapping): void {
  if (!Array.isArray(service.env_file)) return;
  service.env_file = service.env_file.filter((entry) => !isRecord(entry) || entry.required !== false || existsSync(String(entry.path)));
  if ((service.env_file as unknown[]).length === 0) delete service.env_file;
}

function shorten(service: Mapping): void {
  delete service.build;
  delete service.develop;
  if (service.pull_policy === 'build') delete service.pull_policy;
  const convert = (key: string, change: (entry: Mapping) => unknown): void => {
    if (Array.isArray(service[key])) service[key] = service[key].map((entry: unknown) => (isRecord(entry) ? change(entry) : entry));
  };
  convert('env_file', (entry) => (entry.format === undefined || entry.format === null ? entry.path : entry));
  convert('ports', shortPort);
  convert('volumes', shortVolume);
  convert('devices', (entry) =>
    hasOnly(entry, ['source', 'target', 'permissions']) ? `${String(entry.source)}:${String(entry.target)}:${String(entry.permissions ?? 'rwm')}` : entry,
  );
  for (const key of ['configs', 'secrets']) convert(key, (entry) => (hasOnly(entry, ['source']) ? entry.source : entry));
  if (isRecord(service.depends_on)) {
    const conditions = Object.values(service.depends_on);
    for (const condition of conditions) if (isRecord(condition) && condition.required === true) delete condition.required;
    if (conditions.every((condition) => isRecord(condition) && hasOnly(condition, ['condition']) && condition.condition === 'service_started')) {
      service.depends_on = Object.keys(service.depends_on);
    }
  }
  if (Array.isArray(service.extra_hosts)) service.extra_hosts = service.extra_hosts.map((entry: unknown) => String(entry).replace('=', ':'));
  if (isRecord(service.networks) && Object.values(service.networks).every((value) => value === null)) service.networks = Object.keys(service.networks);
  if (isRecord(service.healthcheck) && Array.isArray(service.healthcheck.test)) {
    const test = service.healthcheck.test;
    if (test.length === 2 && test[0] === 'CMD-SHELL') service.healthcheck.test = test[1];
  }
}

function hasOnly(entry: Mapping, keys: readonly string[]): boolean {
  return Object.keys(entry).every((key) => keys.includes(key));
}

function shortPort(port: Mapping): unknown {
  const { host_ip, target, published, protocol, mode } = port;
  if (!hasOnly(port, ['mode', 'host_ip', 'target', 'published', 'protocol']) || (mode !== undefined && mode !== 'ingress')) return port;
  const address = typeof host_ip === 'string' && host_ip.includes(':') ? `[${host_ip}]` : host_ip;
  const host = address === undefined ? (published === undefined ? '' : `${String(published)}:`) : `${String(address)}:${String(published ?? '')}:`;
  return `${host}${String(target)}${protocol === undefined || protocol === 'tcp' ? '' : `/${String(protocol)}`}`;
}

function shortVolume(volume: Mapping): unknown {
  const { type, source, target, read_only, bind, volume: named } = volume;
  const options = read_only === true ? ['ro'] : [];
  if (!hasOnly(volume, ['type', 'source', 'target', 'read_only', 'bind', 'volume'])) return volume;
  if (String(source ?? '').includes(':') || String(target).includes(':')) return volume;
  if (type === 'bind') {
    if (named !== undefined || !isRecord(bind) || bind.create_host_path !== true || !hasOnly(bind, ['create_host_path', 'propagation', 'selinux']))
      return volume;
    for (const key of ['propagation', 'selinux']) if (typeof bind[key] === 'string') options.push(bind[key]);
  } else {
    // podman-compose refuses the short option "nocopy".
    if (type !== 'volume' || bind !== undefined || (isRecord(named) && !hasOnly(named, []))) return volume;
  }
  // An anonymous volume has no place for options in the short form.
  if (source === undefined) return options.length === 0 ? target : volume;
  return `${String(source)}:${String(target)}${options.length === 0 ? '' : `:${options.join(',')}`}`;
}
