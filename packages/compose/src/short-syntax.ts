/** The short forms of Compose values and what they stand for. Source: compose-spec; Docker's port and volume notations. */
import { composeError } from './errors.ts';

function invalid(message: string): Error {
  return composeError('COMPOSE_VALUE_INVALID', message);
}

/** Most ports that one entry may stand for: all of them. */
const MAX_PORTS = 65_535;

export interface PortMapping {
  mode: 'ingress';
  host_ip?: string;
  target: number;
  /** A port, or a range `8000-8010` from which one is taken. */
  published?: string;
  protocol: string;
}

/** Parses `[[IP:][PUBLISHED]:]TARGET[/PROTOCOL]` with ranges. @throws COMPOSE_VALUE_INVALID */
export function parsePort(spec: string): PortMapping[] {
  const slash = spec.indexOf('/');
  const protocol = (slash < 0 ? 'tcp' : spec.slice(slash + 1)).toLowerCase();
  const ports = slash < 0 ? spec : spec.slice(0, slash);
  if (!/^(?:tcp|udp|sctp)$/.test(protocol)) throw invalid(`invalid protocol "${protocol}" in port "${spec}"`);
  const last = ports.lastIndexOf(':');
  const target = parseRange(ports.slice(last + 1), spec);
  if (target === undefined) throw invalid(`no container port in "${spec}"`);
  let published: Range | undefined;
  let ip = '';
  if (last >= 0) {
    const host = ports.slice(0, last);
    const colon = host.lastIndexOf(':');
    // An IPv6 address has colons itself and stands in brackets.
    ip = colon < 0 ? '' : host.slice(0, colon);
    const bracketed = /^\[(.*)\]$/.exec(ip);
    if (bracketed !== null) ip = bracketed[1] as string;
    if (ip !== '' && !/^(?:[0-9.]+|[0-9a-fA-F:.]+(?:%\w+)?)$/.test(ip)) throw invalid(`invalid IP address "${ip}" in port "${spec}"`);
    published = parseRange(host.slice(colon + 1), spec);
  }
  const count = target.end - target.start;
  const base = { mode: 'ingress' as const, ...(ip === '' ? {} : { host_ip: ip }) };
  if (published !== undefined && published.end - published.start !== count) {
    if (count !== 0) throw invalid(`the ranges of port "${spec}" differ in length`);
    return [{ ...base, target: target.start, published: `${published.start}-${published.end}`, protocol }];
  }
  return Array.from({ length: count + 1 }, (_, i) => ({
    ...base,
    target: target.start + i,
    ...(published === undefined ? {} : { published: String(published.start + i) }),
    protocol,
  }));
}

interface Range {
  start: number;
  end: number;
}

function parseRange(text: string, spec: string): Range | undefined {
  if (text === '') return undefined;
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const start = Number(match?.[1]);
  const end = Number(match?.[2] ?? match?.[1]);
  if (match === null || end < start || end > MAX_PORTS) throw invalid(`invalid port "${text}" in "${spec}"`);
  return { start, end };
}

export interface VolumeMount {
  type: 'bind' | 'volume';
  source?: string;
  target: string;
  read_only?: true;
  bind?: { create_host_path: true; propagation?: string; selinux?: string };
  volume?: { nocopy?: true };
}

const PROPAGATION = /^r?(?:private|shared|slave)$/;

/** Parses `[SOURCE:]TARGET[:OPTIONS]`; a source that starts with `.`, `/` or `~` is a bind. @throws COMPOSE_VALUE_INVALID */
export function parseVolume(spec: string): VolumeMount {
  if (spec === '') throw invalid('invalid empty volume');
  const parts = splitVolume(spec);
  if (parts.some((part) => part === '')) throw invalid(`empty section between colons in volume "${spec}"`);
  if (parts.length > 3) throw invalid(`too many colons in volume "${spec}"`);
  const source = parts.length > 1 ? (parts[0] as string) : undefined;
  const target = cleanTarget(parts[parts.length > 1 ? 1 : 0] as string);
  const options = parts[2]?.split(',') ?? [];
  const readOnly = options.findLast((option) => option === 'ro' || option === 'rw') === 'ro' ? { read_only: true as const } : {};
  if (source !== undefined && isHostPath(source)) {
    const bind: NonNullable<VolumeMount['bind']> = { create_host_path: true };
    for (const option of options) {
      if (PROPAGATION.test(option)) bind.propagation = option;
      else if (option === 'z' || option === 'Z') bind.selinux = option;
    }
    return { type: 'bind', source, target, ...readOnly, bind };
  }
  const volume = options.includes('nocopy') ? { nocopy: true as const } : {};
  return { type: 'volume', ...(source === undefined ? {} : { source }), target, ...readOnly, volume };
}

export function isHostPath(source: string): boolean {
  return /^[./~]|^\\\\|^[A-Za-z]:\\/.test(source);
}

/**
 * Splits at colons, but not in `${…}` (kept when interpolation is off) nor after the drive letter of `C:\\…`. compose-go takes every
 * single letter for a drive; docker-compose 1.29 on Linux, and this, take `d:/data` for a volume called d.
 */
function splitVolume(spec: string): string[] {
  const parts: string[] = [];
  let part = '';
  let braces = 0;
  for (let i = 0; i < spec.length; i++) {
    const char = spec[i] as string;
    if (char === '$' && spec[i + 1] === '{') braces++;
    else if (char === '}' && braces > 0) braces--;
    if (char === ':' && braces === 0 && !(spec[i + 1] === '\\' && /^[A-Za-z]$/.test(part))) {
      parts.push(part);
      part = '';
    } else part += char;
  }
  parts.push(part);
  return parts;
}

/** Cleans a path in a container: no `.`, no doubled or trailing slash. */
export function cleanTarget(target: string): string {
  if (!target.startsWith('/')) return target;
  const kept: string[] = [];
  for (const part of target.split('/')) {
    if (part === '..') kept.pop();
    else if (part !== '' && part !== '.') kept.push(part);
  }
  return `/${kept.join('/')}`;
}

/** Parses `SOURCE[:TARGET[:PERMISSIONS]]`. @throws COMPOSE_VALUE_INVALID */
export function parseDevice(spec: string): { source: string; target: string; permissions: string } {
  const [source = '', target = '', permissions = 'rwm', ...rest] = spec.split(':');
  if (rest.length > 0) throw invalid(`confusing device mapping, use the long syntax: "${spec}"`);
  return { source, target: target === '' ? source : target, permissions };
}

/** Splits a command line into words as a shell does, without expanding anything. @throws COMPOSE_VALUE_INVALID */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const char = text[i] as string;
    if (quote === "'") {
      if (char === "'") quote = '';
      else word += char;
    } else if (char === '\\') {
      const next = text[++i];
      if (next === undefined) throw invalid(`command ends with a backslash: "${text}"`);
      word = (word ?? '') + (quote === '"' && !/["\\$`]/.test(next) ? `\\${next}` : next);
    } else if (quote === '"') {
      if (char === '"') quote = '';
      else word += char;
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= '';
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? '') + char;
  }
  if (quote !== '') throw invalid(`command has an unclosed quote: "${text}"`);
  if (word !== undefined) words.push(word);
  return words;
}
