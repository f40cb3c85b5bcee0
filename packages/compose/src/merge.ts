/**
 * Merges models: override files, documents of one file, extends, include.
 * Both sides are in long syntax, so most of the special cases of Compose are plain mappings here.
 *
 * Source: compose-spec "Merge and override"; compose-go `override/merge.go` and `override/uncity.go`.
 */
import { isRecord } from '@cambium/base';
import { type Path, PathTable } from './path.ts';
import type { Mapping } from './types.ts';

/** `replace`: the later value stands alone. `logging`: options merge only when the drivers agree. `ipam`: merged by subnet. */
type Rule = 'replace' | 'logging' | 'ipam';

const RULES = new PathTable<Rule>({
  'services.*.command': 'replace',
  'services.*.entrypoint': 'replace',
  'services.*.healthcheck.test': 'replace',
  // A variable without a value is one to pass through, and not an absent override.
  'services.*.environment.*': 'replace',
  'services.*.build.args.*': 'replace',
  'services.*.ulimits.*': 'replace',
  'services.*.extends': 'replace',
  'services.*.logging': 'logging',
  'networks.*.ipam.config': 'ipam',
});

type KeyOf = (item: unknown) => string | undefined;

const text: KeyOf = (item) => (isRecord(item) ? undefined : String(item));
/** The part before `=`: how Compose tells `a=1` and `a=2` apart from two entries. */
const keyOfPair: KeyOf = (item) => (isRecord(item) ? undefined : String(item).split('=', 1)[0]);
const field =
  (name: string): KeyOf =>
  (item) =>
    isRecord(item) && item[name] !== undefined ? String(item[name]) : text(item);
const mount =
  (directory: string): KeyOf =>
  (item) =>
    isRecord(item) ? String(item.target ?? `${directory}/${String(item.source)}`) : text(item);
const port: KeyOf = (item) =>
  isRecord(item) ? `${String(item.host_ip ?? '0.0.0.0')}:${String(item.published ?? '')}:${String(item.target)}/${String(item.protocol ?? 'tcp')}` : text(item);

/** Lists whose elements have an identity: a later element replaces an earlier one with the same key, in its place. */
const UNIQUE = new PathTable<KeyOf>({
  'services.*.build.tags': text,
  'services.*.build.platforms': text,
  'services.*.cap_add': text,
  'services.*.cap_drop': text,
  'services.*.configs': mount(''),
  'services.*.devices': field('target'),
  'services.*.dns': text,
  'services.*.dns_opt': text,
  'services.*.dns_search': text,
  'services.*.env_file': field('path'),
  'services.*.expose': text,
  'services.*.extra_hosts': text,
  'services.*.build.extra_hosts': text,
  'services.*.label_file': text,
  'services.*.links': keyOfPair,
  'services.*.networks.*.aliases': text,
  'services.*.networks.*.link_local_ips': text,
  'services.*.ports': port,
  'services.*.profiles': text,
  'services.*.secrets': mount('/run/secrets'),
  'services.*.tmpfs': keyOfPair,
  'services.*.volumes': field('target'),
});

/** Says which path of the override does not fit. */
export type ConflictFault = (path: Path) => Error;

/** Returns `base` overridden by `over`; both are used up. @throws what `conflict` returns when a mapping or list meets another kind */
export function mergeModels(base: Mapping, over: Mapping, conflict: ConflictFault, path: Path = []): Mapping {
  return mergeMapping(base, over, path, conflict);
}

function mergeMapping(base: Mapping, over: Mapping, path: Path, conflict: ConflictFault): Mapping {
  for (const [key, value] of Object.entries(over)) base[key] = Object.hasOwn(base, key) ? mergeValue(base[key], value, [...path, key], conflict) : value;
  return base;
}

function mergeValue(base: unknown, over: unknown, path: Path, conflict: ConflictFault): unknown {
  switch (RULES.get(path)) {
    case 'replace':
      return over;
    case 'logging':
      if (isRecord(base) && isRecord(over) && base.driver !== undefined && over.driver !== undefined && base.driver !== over.driver) return over;
      break;
    case 'ipam':
      if (Array.isArray(base) && Array.isArray(over)) return mergeIpam(base, over, path, conflict);
  }
  if (over === null || over === undefined) return base;
  if (isRecord(base)) {
    if (!isRecord(over)) throw conflict(path);
    return mergeMapping(base, over, path, conflict);
  }
  if (Array.isArray(base)) {
    if (!Array.isArray(over)) throw conflict(path);
    return [...base, ...over];
  }
  return over;
}

function mergeIpam(base: unknown[], over: unknown[], path: Path, conflict: ConflictFault): unknown[] {
  const merged = [...base];
  for (const item of over) {
    const at = isRecord(item) ? merged.findIndex((known) => isRecord(known) && known.subnet === item.subnet) : -1;
    if (at < 0) merged.push(item);
    else merged[at] = mergeMapping(merged[at] as Mapping, item as Mapping, [...path, at], conflict);
  }
  return merged;
}

/** Drops repeated elements from the lists that have identities; changes `value` in place and returns it. */
export function enforceUnique(value: unknown, path: Path = []): unknown {
  if (isRecord(value)) {
    for (const key of Object.keys(value)) value[key] = enforceUnique(value[key], [...path, key]);
    return value;
  }
  if (!Array.isArray(value)) return value;
  const keyOf = UNIQUE.get(path);
  if (keyOf === undefined) return value;
  const places = new Map<string, number>();
  const result: unknown[] = [];
  for (const item of value) {
    const key = keyOf(item);
    const at = key === undefined ? undefined : places.get(key);
    if (at !== undefined) result[at] = item;
    else {
      if (key !== undefined) places.set(key, result.length);
      result.push(item);
    }
  }
  return result;
}

/** Removes what `paths` name (from `!reset` and `!override`) from a model of earlier files, in place. */
export function applyResets(model: unknown, paths: readonly Path[]): void {
  for (const path of paths) {
    let at = model;
    for (const part of path.slice(0, -1)) at = isRecord(at) && Object.hasOwn(at, part) ? at[part as string] : undefined;
    const last = path.at(-1);
    // An element of a list has no identity across files: the tag drops it from its own list, and that was done on reading.
    if (isRecord(at) && typeof last === 'string') delete at[last];
  }
}
