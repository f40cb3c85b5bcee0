/**
 * Pins the images of a compose file in its text: only the image scalars change, every other byte stays.
 *
 * Edits are made at the source ranges of the YAML nodes, then checked: the new text is read again,
 * and nothing but the wanted images (and unused `x-` fields) may differ.
 */
import { isRecord } from '@cambium/base';
import { isAlias, isMap, isPair, isScalar, isSeq, type Node, type Pair, type Scalar } from 'yaml';
import { composeError } from './errors.ts';
import { type Path, pathText } from './path.ts';
import { parseYaml, readYaml, scalarValue, type YamlDocument } from './yaml-source.ts';

export interface PinOptions {
  /** The text of a compose file that is a project by itself. */
  source: string;
  /** For messages. */
  file?: string;
  /** What the image of each service becomes, as in `docker.io/library/nginx:1.25@sha256:…`. */
  replacements: ReadonlyMap<string, string>;
  /** Other references: paths of volumes of type image and the like, from `ImageUse.paths`. */
  others?: readonly { path: Path; value: string }[];
}

/**
 * Returns the source with pinned images.
 *
 * An image that comes through an alias or a merge key is changed at its anchor when all its users get the same pin;
 * a plain alias is replaced where it stands when they do not.
 *
 * @throws COMPOSE_PIN_NOT_IN_PLACE when image scalars alone cannot express the pins: write the resolved model then
 *
 * @example
 * pinImages({ source: 'services: {web: {image: "nginx:${TAG:-1}"}} # mine\n', replacements: new Map([['web', 'nginx:1@sha256:…']]) });
 * // 'services: {web: {image: "nginx:1@sha256:…"}} # mine\n'
 */
export function pinImages(options: PinOptions): string {
  const bom = options.source.startsWith('\ufeff') ? '\ufeff' : '';
  const source = options.source.slice(bom.length);
  const file = options.file ?? 'compose file';
  const { documents } = parseYaml(source, file);
  const wanted = [
    ...[...options.replacements].map(([service, value]) => ({
      path: ['services', service, 'image'] as Path,
      value,
      node: imageNode(documents, service, new Set()),
    })),
    ...(options.others ?? []).map(({ path, value }) => ({ path, value, node: nodeAt(documents, path) })),
  ];
  for (const { path, node } of wanted) if (node === undefined) throw notInPlace(`the value of ${pathText(path)} does not stand in ${file}`);

  let reason = '';
  for (const atAlias of [false, true]) {
    const edits = new Map<Node, string>();
    let conflict = false;
    for (const { path, value, node } of wanted as { path: Path; value: string; node: Found }[]) {
      const target = atAlias && isAlias(node.written) ? node.written : node.scalar;
      const before = edits.get(target);
      if (before !== undefined && before !== value) {
        reason = `${pathText(path)} shares its value with an image that gets another pin`;
        conflict = true;
      }
      edits.set(target, value);
    }
    if (conflict) continue;
    const result = applyEdits(source, edits);
    const difference = check(source, result, options, file);
    if (difference === undefined) return bom + result;
    reason = difference;
  }
  throw notInPlace(reason);
}

interface Found {
  /** The node at the key: an alias or the scalar itself. */
  written: Node;
  scalar: Scalar;
}

function notInPlace(reason: string): Error {
  return composeError('COMPOSE_PIN_NOT_IN_PLACE', `Cannot pin images in place: ${reason}`, { data: { reason } });
}

function resolve(document: YamlDocument, node: Node): Node {
  return document.targets.get(node) ?? node;
}

/** Returns a mapping's value as written, from its own keys or from what it merges. */
function memberOf(document: YamlDocument, source: Node | null | undefined, key: string, depth = 0): Node | undefined {
  const node = source === null || source === undefined ? undefined : resolve(document, source);
  if (!isMap(node) || depth > 100) return undefined;
  let merge: Node | undefined;
  for (const pair of node.items as Pair<Node | null, Node | null>[]) {
    const name = pair.key === null ? undefined : resolve(document, pair.key);
    if (!isScalar(name)) continue;
    const text = name.source ?? String(name.value);
    if (text === key) return pair.value ?? undefined;
    if (text === '<<') merge = pair.value ?? undefined;
  }
  const merged = merge === undefined ? undefined : resolve(document, merge);
  const parts = isSeq(merged) ? merged.items : [merged];
  for (const part of parts) {
    const found = isPair(part) ? undefined : memberOf(document, part as Node, key, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The last document that gives the service an image decides; without one, the service of the file that it extends. */
function imageNode(documents: readonly YamlDocument[], service: string, seen: Set<string>): Found | undefined {
  if (seen.has(service)) return undefined;
  seen.add(service);
  for (const document of documents.toReversed()) {
    const definition = memberOf(document, memberOf(document, document.contents, 'services'), service);
    const written = memberOf(document, definition, 'image');
    if (written !== undefined) {
      const scalar = resolve(document, written);
      return isScalar(scalar) && scalar.tag !== '!reset' && typeof scalarValue(scalar) === 'string' ? { written, scalar } : undefined;
    }
    const extended = memberOf(document, definition, 'extends');
    if (extended === undefined) continue;
    const base = resolve(document, extended);
    const named = isScalar(base) ? base : memberOf(document, base, 'service');
    const name = named === undefined ? undefined : resolve(document, named);
    if (isMap(base) && memberOf(document, base, 'file') !== undefined) return undefined;
    if (isScalar(name)) return imageNode(documents, String(scalarValue(name)), seen);
  }
  return undefined;
}

function nodeAt(documents: readonly YamlDocument[], path: Path): Found | undefined {
  const document = documents.length === 1 ? documents[0] : undefined;
  let node: Node | null | undefined = document?.contents;
  for (const part of path) {
    if (document === undefined || node === null || node === undefined) return undefined;
    const holder = resolve(document, node);
    node = typeof part === 'string' ? memberOf(document, holder, part) : isSeq(holder) ? (holder.items[part] as Node | undefined) : undefined;
  }
  if (document === undefined || node === null || node === undefined) return undefined;
  const scalar = resolve(document, node);
  return isScalar(scalar) ? { written: node, scalar } : undefined;
}

function applyEdits(source: string, edits: ReadonlyMap<Node, string>): string {
  let result = '';
  let at = 0;
  const ordered = [...edits].sort(([a], [b]) => (a.range?.[0] ?? 0) - (b.range?.[0] ?? 0));
  for (const [node, value] of ordered) {
    const [start, end] = node.range ?? [0, 0];
    result += source.slice(at, start) + written(node, source.slice(start, end), value);
    at = end;
  }
  return result + source.slice(at);
}

/** Every reference to an image is of this form, which is plain text in YAML, also between brackets. */
const PLAIN = /^[A-Za-z0-9](?:[A-Za-z0-9._/@+-]|:(?=[^\s,]))*$/;

/** Returns the value in the style of the scalar it replaces. */
function written(node: Node, old: string, value: string): string {
  // The file is interpolated when it is used.
  const text = value.replaceAll('$', '$$$$');
  const type = isScalar(node) ? node.type : 'PLAIN';
  const quoted = `"${text.replace(/["\\]/g, '\\$&')}"`;
  if (type === 'QUOTE_DOUBLE') return quoted;
  if (type === 'QUOTE_SINGLE') return `'${text.replaceAll("'", "''")}'`;
  const plain = PLAIN.test(text) && /[^0-9._]/.test(text) ? text : quoted;
  if (type !== 'BLOCK_FOLDED' && type !== 'BLOCK_LITERAL') return plain;
  // A block scalar owns its lines: one line is left, with the comment of its header.
  const header = old.slice(0, old.search(/[\r\n]|$/));
  const hash = header.search(/\s#/);
  const comment = hash < 0 ? '' : header.slice(header.slice(0, hash).trimEnd().length);
  const tail = old.slice(old.trimEnd().length);
  return plain + comment + (tail.includes('\r\n') ? '\r\n' : tail.includes('\n') ? '\n' : '');
}

/** Returns what else differs between the two texts, or undefined. */
function check(before: string, after: string, options: PinOptions, file: string): string | undefined {
  const old = readYaml(before, file).map((document) => document.value);
  let now: unknown[];
  try {
    now = readYaml(after, file).map((document) => document.value);
  } catch (error) {
    return `the changed text is not valid: ${error instanceof Error ? error.message : String(error)}`;
  }
  if (old.length !== now.length) return 'the changed text has other documents';
  const escaped = (value: string): string => value.replaceAll('$', '$$$$');
  const allowed = new Map<string, string>([
    ...[...options.replacements.keys()].map((service): [string, string] => [JSON.stringify(['services', service, 'image']), '']),
    ...(options.others ?? []).map((other): [string, string] => [JSON.stringify(other.path), '']),
  ]);
  let difference: string | undefined;
  const compare = (a: unknown, b: unknown, path: Path): void => {
    if (difference !== undefined || Object.is(a, b)) return;
    const key = path.at(-1);
    // Extension fields hold anchors and mean nothing by themselves.
    if (typeof key === 'string' && key.startsWith('x-') && (path.length === 1 || (path[0] === 'services' && path.length === 3))) return;
    if (Array.isArray(a) && Array.isArray(b) && a.length === b.length) for (const [i, item] of a.entries()) compare(item, b[i], [...path, i]);
    else if (isRecord(a) && isRecord(b) && Object.keys(a).join('\0') === Object.keys(b).join('\0'))
      for (const name of Object.keys(a)) compare(a[name], b[name], [...path, name]);
    else if (!allowed.has(JSON.stringify(path))) difference = `${pathText(path)} would change too`;
  };
  for (const [i, value] of old.entries()) compare(value, now[i], []);
  if (difference !== undefined) return difference;
  for (const [service, value] of options.replacements) {
    if (effectiveImage(now, service, new Set()) !== escaped(value)) return `the image of service "${service}" would not be the pinned one`;
  }
  for (const { path, value } of options.others ?? []) {
    const got = path.reduce<unknown>((at, part) => (at as Record<string | number, unknown> | undefined)?.[part], now[0]);
    if (got !== escaped(value)) return `${pathText(path)} would not be the pinned one`;
  }
  return undefined;
}

function effectiveImage(documents: readonly unknown[], service: string, seen: Set<string>): unknown {
  if (seen.has(service)) return undefined;
  seen.add(service);
  for (const document of documents.toReversed()) {
    const services = isRecord(document) ? document.services : undefined;
    const definition = isRecord(services) && Object.hasOwn(services, service) ? services[service] : undefined;
    if (!isRecord(definition)) continue;
    if (definition.image !== undefined && definition.image !== null) return definition.image;
    const base = isRecord(definition.extends) ? definition.extends.service : definition.extends;
    if (typeof base === 'string') return effectiveImage(documents, base, seen);
  }
  return undefined;
}
