/**
 * Brings one document into long syntax, and its local paths into absolute form, so that merging meets one shape per key.
 * Defaults are not set here: a default must not override what an earlier file says.
 *
 * Source: compose-go `transform` and `paths`.
 */
import { isAbsolute, join, resolve } from 'node:path/posix';
import { isKnownError, isRecord } from '@cambium/base';
import { documentFault, type Scope } from './context.ts';
import { type Path, pathText } from './path.ts';
import { parseDevice, parsePort, parseVolume, splitWords } from './short-syntax.ts';
import type { LocalFileKind, Mapping } from './types.ts';
import type { SourceDocument } from './yaml-source.ts';

type Rule = (value: unknown, at: At) => unknown;

/** Where a rule stands, and how it complains. */
class At {
  readonly document: SourceDocument;
  readonly scope: Scope;
  readonly path: Path;

  constructor(document: SourceDocument, scope: Scope, path: Path) {
    this.document = document;
    this.scope = scope;
    this.path = path;
  }

  next(part: string | number): At {
    return new At(this.document, this.scope, [...this.path, part]);
  }

  fault(reason: string): Error {
    return documentFault('COMPOSE_MODEL_INVALID', this.document, this.path, reason);
  }

  /** Gives errors of the short-syntax parsers their place. With interpolation off `${…}` cannot be parsed: it stays. */
  attempt<T>(text: string, parse: (text: string) => T): T | undefined {
    try {
      return parse(text);
    } catch (error) {
      if (!this.scope.interpolate && text.includes('$')) return undefined;
      if (isKnownError(error)) throw documentFault('COMPOSE_VALUE_INVALID', this.document, this.path, error.message, { cause: error });
      throw error;
    }
  }

  /** Returns the absolute form of a local path. */
  local(kind: LocalFileKind | 'build', text: string): string {
    if (text === '' || (!this.scope.interpolate && text.startsWith('$'))) return text;
    const { directory, environment, session } = this.scope;
    const home = Object.hasOwn(environment, 'HOME') ? environment.HOME : undefined;
    const expanded = /^~(?:\/|$)/.test(text) && home !== undefined ? join(home, text.slice(1)) : text;
    const path = isAbsolute(expanded) ? resolve(expanded) : resolve(directory, expanded);
    const { depth: _depth, ...position } = this.document.position(this.path);
    session.written.set(`${kind} ${path}`, { text, position });
    return path;
  }
}

/** Changes a document's value in place and returns it. @throws COMPOSE_MODEL_INVALID, COMPOSE_VALUE_INVALID */
export function canonicalDocument(document: SourceDocument, scope: Scope): Mapping {
  const root = new At(document, scope, []);
  if (!isRecord(document.value)) throw root.fault('the top level must be a mapping');
  const value = document.value;
  apply(value, TOP, root);
  for (const section of ['services', 'networks', 'volumes', 'configs', 'secrets', 'models'] as const) {
    const entries = value[section];
    if (entries === undefined) continue;
    if (entries === null) {
      value[section] = {};
      continue;
    }
    if (!isRecord(entries)) throw root.next(section).fault(`must be a mapping, not ${kindOf(entries)}`);
    for (const [name, entry] of Object.entries(entries)) {
      const at = root.next(section).next(name);
      if (name.startsWith('x-') && section !== 'services') continue;
      if (!isRecord(entry) && !(entry === null && section !== 'services')) throw at.fault(`must be a mapping, not ${kindOf(entry)}`);
      if (entry !== null) apply(entry as Mapping, SECTIONS[section] ?? {}, at);
    }
  }
  return value;
}

export function kindOf(value: unknown): string {
  return value === null || value === undefined ? 'empty' : Array.isArray(value) ? 'a list' : isRecord(value) ? 'a mapping' : `a ${typeof value}`;
}

function apply(record: Mapping, rules: Readonly<Record<string, Rule>>, at: At): void {
  for (const key of Object.keys(record)) {
    const rule = Object.hasOwn(rules, key) ? rules[key] : undefined;
    if (rule === undefined || record[key] === null) continue;
    record[key] = rule(record[key], at.next(key));
  }
}

const scalarText = (value: unknown, at: At): string => {
  if (typeof value === 'object' || value === undefined) throw at.fault(`must be text, not ${kindOf(value)}`);
  return String(value);
};
const text: Rule = scalarText;
const flag: Rule = (value, at) => {
  if (typeof value === 'boolean' || (!at.scope.interpolate && typeof value === 'string')) return value;
  throw at.fault(`must be true or false, not ${kindOf(value)}`);
};
const number: Rule = (value, at) => {
  if (typeof value === 'number' || (!at.scope.interpolate && typeof value === 'string')) return value;
  throw at.fault(`must be a number, not ${kindOf(value)}`);
};
const list: Rule = (value, at) => {
  if (!Array.isArray(value)) throw at.fault(`must be a list, not ${kindOf(value)}`);
  return value;
};
const texts: Rule = (value, at) => (list(value, at) as unknown[]).map((item, i) => scalarText(item, at.next(i)));
const textOrTexts: Rule = (value, at) => (Array.isArray(value) ? texts(value, at) : [scalarText(value, at)]);
const mapping: Rule = (value, at) => {
  if (!isRecord(value)) throw at.fault(`must be a mapping, not ${kindOf(value)}`);
  return value;
};
const command: Rule = (value, at) => {
  if (Array.isArray(value)) return texts(value, at);
  const line = scalarText(value, at);
  return at.attempt(line, splitWords) ?? line;
};

/** Mapping or list of `K=V` to a mapping; a key alone has no value (`missing`). */
function pairs(missing: null | '', separator: RegExp = /=/): Rule {
  return (value, at) => {
    const result: Mapping = {};
    if (Array.isArray(value)) {
      value.forEach((item, i) => {
        const entry = scalarText(item, at.next(i));
        const cut = entry.search(separator);
        const key = cut < 0 ? entry : entry.slice(0, cut);
        if (key === '' || key === '__proto__') throw at.next(i).fault(`"${entry}" has no name before "="`);
        result[key] = cut < 0 ? missing : entry.slice(cut + 1);
      });
    } else {
      for (const [key, item] of Object.entries(mapping(value, at) as Mapping)) result[key] = item === null ? missing : scalarText(item, at.next(key));
    }
    return result;
  };
}
const labels = pairs('');
const variables = pairs(null);

/** Rule for every element of a list. */
function each(rule: Rule): Rule {
  return (value, at) => (list(value, at) as unknown[]).map((item, i) => rule(item, at.next(i)));
}
/** Rules for the keys of a mapping. */
function fields(rules: Readonly<Record<string, Rule>>): Rule {
  return (value, at) => {
    apply(mapping(value, at) as Mapping, rules, at);
    return value;
  };
}
/** Rule for every value of a mapping. */
function values(rule: Rule): Rule {
  return (value, at) => {
    const record = mapping(value, at) as Mapping;
    for (const key of Object.keys(record)) if (record[key] !== null) record[key] = rule(record[key], at.next(key));
    return record;
  };
}
/** List of names to a mapping with the names as keys. */
function named(make: () => unknown, rule: Rule): Rule {
  return (value, at) => {
    if (!Array.isArray(value)) return values(rule)(value, at);
    const result: Mapping = {};
    for (const name of texts(value, at) as string[]) {
      if (name === '__proto__') throw at.fault('"__proto__" is not a name');
      result[name] = make();
    }
    return result;
  };
}

const hostList: Rule = (value, at) => {
  const hosts: string[] = [];
  const add = (host: string, address: string): void => {
    hosts.push(`${host}=${address.replace(/^\[(.*)\]$/, '$1')}`);
  };
  if (Array.isArray(value)) {
    value.forEach((item, i) => {
      const entry = scalarText(item, at.next(i));
      const cut = entry.includes('=') ? entry.indexOf('=') : entry.indexOf(':');
      if (cut <= 0) throw at.next(i).fault(`"${entry}" is not HOST=ADDRESS`);
      add(entry.slice(0, cut), entry.slice(cut + 1));
    });
  } else {
    for (const [host, address] of Object.entries(mapping(value, at) as Mapping)) {
      for (const item of textOrTexts(address, at.next(host)) as string[]) add(host, item);
    }
  }
  return hosts;
};

const ports: Rule = (value, at) =>
  (list(value, at) as unknown[]).flatMap((item, i): unknown[] => {
    const here = at.next(i);
    if (isRecord(item)) {
      if (item.published !== undefined && item.published !== null) item.published = scalarText(item.published, here.next('published'));
      if (item.target === undefined) throw here.fault('a port needs a target');
      return [item];
    }
    const spec = scalarText(item, here);
    return here.attempt(spec, parsePort) ?? [spec];
  });

const volumes: Rule = each((value, at) => {
  const volume = isRecord(value) ? value : at.attempt(scalarText(value, at), parseVolume);
  if (volume === undefined) return value;
  const record = volume as Mapping;
  if (typeof record.target !== 'string' && at.scope.interpolate) throw at.fault('a volume needs a target');
  if (record.type === 'bind') {
    if (typeof record.source !== 'string' || record.source === '') throw at.fault('a bind needs a source');
    record.source = at.local('bind', record.source);
  } else if (typeof record.type !== 'string' && at.scope.interpolate) throw at.fault('a volume in long syntax needs a type');
  return record;
});

const fileMounts: Rule = each((value, at) => (isRecord(value) ? value : { source: scalarText(value, at) }));

const envFiles: Rule = (value, at) =>
  (Array.isArray(value) ? value : [value]).map((item: unknown, i) => {
    const here = at.next(i);
    const entry: Mapping = isRecord(item) ? item : { path: scalarText(item, here), required: true };
    if (typeof entry.path !== 'string') throw here.fault('an env_file needs a path');
    if (entry.format !== undefined && entry.format !== null && entry.format !== 'raw')
      throw here.fault(`unsupported env_file format "${String(entry.format)}"`);
    return { ...entry, path: here.local('env_file', entry.path), required: entry.required ?? true };
  });

const labelFiles: Rule = (value, at) => (textOrTexts(value, at) as string[]).map((path, i) => at.next(i).local('label_file', path));

const ulimits: Rule = values((value, at) => (isRecord(value) ? value : number(value, at)));

const REMOTE_CONTEXT = /^(?:https?|git|ssh|github\.com|git@|oci|docker-image|target|service):?/;
const isRemoteContext = (context: string): boolean => /:\/\/|^git@|^github\.com\/|^(?:service|target):/.test(context) && REMOTE_CONTEXT.test(context);
const buildContext: Rule = (value, at) => {
  const context = scalarText(value, at);
  return isRemoteContext(context) ? context : at.local('build', context);
};

const buildFields = fields({
  context: buildContext,
  dockerfile: text,
  args: variables,
  labels,
  additional_contexts: (value, at) => values(buildContext)(pairs('')(value, at), at),
  extra_hosts: hostList,
  tags: texts,
  platforms: texts,
  cache_from: texts,
  cache_to: texts,
  secrets: fileMounts,
  ulimits,
});
const build: Rule = (value, at) => buildFields(isRecord(value) ? value : { context: scalarText(value, at) }, at);

const extendsRule: Rule = (value, at) => {
  const entry: Mapping = isRecord(value) ? value : { service: scalarText(value, at) };
  if (typeof entry.service !== 'string') throw at.fault('extends needs a service');
  if (entry.file === undefined || entry.file === null) return { service: entry.service };
  return { service: entry.service, file: at.next('file').local('extends', scalarText(entry.file, at.next('file'))) };
};

const healthcheck = fields({
  test: (value, at) => (Array.isArray(value) ? texts(value, at) : ['CMD-SHELL', scalarText(value, at)]),
  retries: number,
  disable: flag,
});

const dependsOn = named(() => ({ condition: 'service_started', required: true }), mapping);

const hooks = each(fields({ command, environment: variables }));

const SERVICE: Readonly<Record<string, Rule>> = {
  annotations: labels,
  build,
  cap_add: texts,
  cap_drop: texts,
  command,
  configs: fileMounts,
  container_name: text,
  cpus: number,
  depends_on: dependsOn,
  deploy: fields({ labels }),
  devices: each((value, at) => (isRecord(value) ? value : (at.attempt(scalarText(value, at), parseDevice) ?? value))),
  dns: textOrTexts,
  dns_opt: texts,
  dns_search: textOrTexts,
  entrypoint: command,
  env_file: envFiles,
  environment: variables,
  expose: texts,
  extends: extendsRule,
  external_links: texts,
  extra_hosts: hostList,
  gpus: (value, at) => (Array.isArray(value) ? value : [{ count: scalarText(value, at) }]),
  group_add: texts,
  healthcheck,
  hostname: text,
  image: text,
  init: flag,
  label_file: labelFiles,
  labels,
  links: texts,
  logging: fields({ options: values(text) }),
  models: named(() => null, mapping),
  network_mode: text,
  networks: named(() => null, fields({ aliases: texts, link_local_ips: texts, driver_opts: values(text) })),
  platform: text,
  ports,
  post_start: hooks,
  pre_start: hooks,
  pre_stop: hooks,
  privileged: flag,
  profiles: texts,
  pull_policy: (value, at) => (scalarText(value, at) === 'if_not_present' ? 'missing' : value),
  read_only: flag,
  restart: text,
  secrets: fileMounts,
  security_opt: texts,
  stdin_open: flag,
  sysctls: labels,
  tmpfs: textOrTexts,
  tty: flag,
  ulimits,
  user: text,
  volumes,
  volumes_from: texts,
  working_dir: text,
};

/** `external: {name: x}` is the old form of `external: true` with `name: x`. */
function external(rules: Readonly<Record<string, Rule>>): Readonly<Record<string, Rule>> {
  return { ...rules, external: (value, at) => (isRecord(value) ? value : flag(value, at)), name: text };
}

const TOP: Readonly<Record<string, Rule>> = { name: text };

const SECTIONS: Readonly<Record<string, Readonly<Record<string, Rule>>>> = {
  services: SERVICE,
  networks: external({ labels, driver_opts: values(text), ipam: fields({ options: values(text), config: list }) }),
  volumes: external({
    labels,
    driver_opts: (value, at) => {
      const options = values(text)(value, at) as Record<string, string>;
      // A local volume with "o: bind" is a bind mount by another name.
      if (options.o !== undefined && /(?:^|,)r?bind(?:,|$)/.test(options.o) && options.device !== undefined)
        options.device = at.next('device').local('bind', options.device);
      return options;
    },
  }),
  configs: external({ labels, file: (value, at) => at.local('config', scalarText(value, at)), content: text, environment: text }),
  secrets: external({ labels, file: (value, at) => at.local('secret', scalarText(value, at)), environment: text }),
  models: {},
};

/** Replaces the old form of `external` in a merged model. @throws COMPOSE_MODEL_INVALID */
export function modernExternal(model: Mapping, warn: (message: string) => void, fault: (path: Path, reason: string) => Error): void {
  for (const section of ['networks', 'volumes', 'configs', 'secrets']) {
    const entries = model[section];
    if (!isRecord(entries)) continue;
    for (const [key, resource] of Object.entries(entries)) {
      if (!isRecord(resource) || !isRecord(resource.external)) continue;
      const name = resource.external.name;
      resource.external = true;
      if (typeof name !== 'string') continue;
      const path = [section, key];
      warn(`${pathText(path)}: external.name is obsolete, write "name" beside "external: true"`);
      if (resource.name !== undefined && resource.name !== name) throw fault(path, 'name and external.name differ');
      resource.name = name;
    }
  }
}
