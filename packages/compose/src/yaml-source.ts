/**
 * YAML as Compose uses it: several documents, anchors, aliases and merge keys, `!reset` and `!override`.
 *
 * Values are plain records, lists and scalars. Scalars are resolved here and not by the YAML library,
 * because Compose follows Go's rules: `yes` is text, `0777` is octal, a number too large stays text.
 * Source: YAML 1.2.2; https://yaml.org/type/merge.html; compose-go `loader/reset.go`.
 */
import type { KnownError } from '@cambium/base';
import { Composer, isAlias, isMap, isPair, isScalar, isSeq, LineCounter, type Node, type Pair, Parser, type Scalar, visit, type YAMLMap } from 'yaml';
import { type ComposeErrorCode, composeError, faultAt, type Position } from './errors.ts';
import type { Path } from './path.ts';

/** Limits of one file. Compose itself stops at 100 000 visited nodes per document against alias bombs. */
export interface YamlLimits {
  maxBytes: number;
  maxNodes: number;
  maxDepth: number;
  /** Characters of all scalars, counted again for every alias. */
  maxText: number;
  maxDocuments: number;
}

export const YAML_LIMITS: Readonly<YamlLimits> = { maxBytes: 1 << 20, maxNodes: 100_000, maxDepth: 200, maxText: 16 << 20, maxDocuments: 1000 };

/** Where the parts of a document stand; a tree beside the value. */
export interface Places {
  offset: number;
  children?: Map<string | number, Places>;
}

export interface SourceDocument {
  value: unknown;
  /** Paths with `!reset` or `!override`: what they name in earlier documents goes away. */
  resets: Path[];
  /** Returns where a path stands, or the nearest of its parents. */
  position(path: Path): Position & { depth: number };
}

/** Parsed by the library, scalars untouched: what {@link readYaml} and pinning start from. */
export interface YamlDocument {
  contents: Node | null;
  /** The node that each alias stands for. */
  targets: Map<Node, Node>;
}

export interface YamlFile {
  documents: YamlDocument[];
  at(offset: number): Position;
}

/** @throws COMPOSE_YAML_INVALID, COMPOSE_FILE_TOO_LARGE, COMPOSE_TOO_COMPLEX */
export function parseYaml(text: string, file: string, limits: YamlLimits = YAML_LIMITS): YamlFile {
  if (text.length > limits.maxBytes) {
    throw composeError('COMPOSE_FILE_TOO_LARGE', `Cannot read ${file}: over ${limits.maxBytes} bytes`, { data: { file, limitBytes: limits.maxBytes } });
  }
  const lines = new LineCounter();
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(1, line), column: Math.max(1, col) };
  };
  try {
    checkNesting(text, file, limits.maxDepth);
    // The failsafe schema keeps every scalar as text; unique keys are checked here because the library's check is quadratic.
    const composer = new Composer({ schema: 'failsafe', resolveKnownTags: false, uniqueKeys: false });
    // The library collects errors (a megabyte of commas gives a million, in 8 s); the first one is enough.
    let fault: KnownError | undefined;
    const onError = (source: number | { offset: number } | [number, number], code: string, message: string, warning?: boolean): void => {
      if (warning === true) return;
      const offset = typeof source === 'number' ? source : Array.isArray(source) ? source[0] : source.offset;
      // The library catches what is thrown inside it and reports it again: the first report stands. It does so for an exhausted stack too.
      fault ??= faultAt(code === 'RESOURCE_EXHAUSTION' ? 'COMPOSE_TOO_COMPLEX' : 'COMPOSE_YAML_INVALID', at(offset), `Cannot parse YAML: ${message}`);
      throw fault;
    };
    Object.assign(composer, { onError });
    const documents: YamlDocument[] = [];
    for (const document of composer.compose(new Parser(lines.addNewLine).parse(text))) {
      const error = document.errors[0];
      if (error !== undefined) throw faultAt('COMPOSE_YAML_INVALID', at(error.pos[0]), `Cannot parse YAML: ${error.message}`, { cause: error });
      if (documents.length >= limits.maxDocuments)
        throw faultAt('COMPOSE_TOO_COMPLEX', at(document.range[0]), `Cannot parse ${file}: over ${limits.maxDocuments} documents`);
      documents.push({ contents: document.contents, targets: aliasTargets(document.contents, at) });
    }
    return { documents, at };
  } catch (error) {
    // The library recurses by nesting; what slips past the check above ends here and not in a crash.
    if (error instanceof RangeError) throw composeError('COMPOSE_TOO_COMPLEX', `Cannot parse ${file}: nested too deeply`, { data: { file }, cause: error });
    throw error;
  }
}

/** Returns the documents of a compose file as plain values. @throws as {@link parseYaml}, COMPOSE_YAML_DUPLICATE_KEY */
export function readYaml(text: string, file: string, limits: YamlLimits = YAML_LIMITS): SourceDocument[] {
  const { documents, at } = parseYaml(text, file, limits);
  return documents.map((document) => {
    const resets: Path[] = [];
    const converter = new Converter(document, at, limits, resets);
    const { value, places } = converter.convert(document.contents, [], 0);
    return {
      value: value === GONE ? null : value,
      resets,
      position(path) {
        let here = places;
        let depth = 0;
        for (const part of path) {
          const next = here.children?.get(part);
          if (next === undefined) break;
          here = next;
          depth++;
        }
        return { ...at(here.offset), depth };
      },
    };
  });
}

/** Resolves a scalar as Go's YAML library does for an untyped value. Numbers beyond 2^53 stay text. */
export function scalarValue(node: Scalar): string | number | boolean | null {
  const text = node.source ?? String(node.value ?? '');
  if (node.tag !== undefined) {
    if (node.tag === 'tag:yaml.org,2002:str' || node.tag === '!') return text;
  } else if (node.type !== 'PLAIN') return text;
  return plainValue(text);
}

const GONE: unique symbol = Symbol('reset');
const MERGE_KEY = '<<';

class Converter {
  readonly #document: YamlDocument;
  readonly #at: (offset: number) => Position;
  readonly #limits: YamlLimits;
  readonly #resets: Path[];
  readonly #open = new Set<Node>();
  #nodes = 0;
  #text = 0;

  constructor(document: YamlDocument, at: (offset: number) => Position, limits: YamlLimits, resets: Path[]) {
    this.#document = document;
    this.#at = at;
    this.#limits = limits;
    this.#resets = resets;
  }

  convert(source: Node | null, path: Path, depth: number): { value: unknown; places: Places } {
    const offset = source?.range?.[0] ?? 0;
    const node = source === null ? null : this.#target(source);
    this.#spend(node, depth);
    if (source === null || node === null) return { value: null, places: { offset } };
    const tag = 'tag' in node ? node.tag : undefined;
    if (tag === '!reset' || tag === '!override') this.#resets.push(path);
    if (tag === '!reset') return { value: GONE, places: { offset } };
    if (isScalar(node)) return { value: scalarValue(node), places: { offset } };
    if (this.#open.has(node)) throw this.#fault('COMPOSE_TOO_COMPLEX', source, 'Cannot expand alias: it stands inside what it names');
    this.#open.add(node);
    const children = new Map<string | number, Places>();
    const value = isMap(node) ? this.#map(node, path, depth, children) : isSeq(node) ? this.#list(node.items, path, depth, children) : null;
    this.#open.delete(node);
    return { value, places: { offset, children } };
  }

  #list(items: readonly unknown[], path: Path, depth: number, children: Map<string | number, Places>): unknown[] {
    const list: unknown[] = [];
    for (const item of items) {
      const { value, places } = this.convert(isPair(item) ? null : (item as Node | null), [...path, list.length], depth + 1);
      if (value === GONE) continue;
      children.set(list.length, places);
      list.push(value);
    }
    return list;
  }

  #map(node: YAMLMap, path: Path, depth: number, children: Map<string | number, Places>): Record<string, unknown> {
    const own = new Map<string, Pair<Node | null, Node | null>>();
    for (const pair of node.items as Pair<Node | null, Node | null>[]) {
      const key = this.#key(pair.key);
      if (own.has(key)) throw this.#fault('COMPOSE_YAML_DUPLICATE_KEY', pair.key, `Cannot parse YAML: key "${key}" is defined twice`);
      own.set(key, pair);
    }
    const record: Record<string, unknown> = {};
    const merge = own.get(MERGE_KEY);
    if (merge !== undefined) this.#merge(merge.value, own, record, path, depth, children);
    for (const [key, pair] of own) {
      if (pair === merge) continue;
      const { value, places } = this.convert(pair.value, [...path, key], depth + 1);
      // Messages about a key point at the key.
      if (pair.key?.range != null) places.offset = pair.key.range[0];
      if (value === GONE) continue;
      children.set(key, places);
      record[key] = value;
    }
    return record;
  }

  /** The mapping's own keys win over merged ones, and earlier merged mappings over later ones. */
  #merge(
    source: Node | null,
    own: ReadonlyMap<string, unknown>,
    record: Record<string, unknown>,
    path: Path,
    depth: number,
    children: Map<string | number, Places>,
  ): void {
    const node = source === null ? null : this.#target(source);
    const parts = isSeq(node) ? (node.items as Node[]) : [source];
    for (const part of parts) {
      const target = part === null ? null : this.#target(part);
      if (!isMap(target)) throw this.#fault('COMPOSE_YAML_INVALID', source, 'Cannot parse YAML: "<<" takes a mapping or a list of mappings');
      const merged = this.convert(part, path, depth + 1);
      for (const [key, value] of Object.entries(merged.value as Record<string, unknown>)) {
        if (own.has(key) || Object.hasOwn(record, key)) continue;
        record[key] = value;
        const places = merged.places.children?.get(key);
        if (places !== undefined) children.set(key, places);
      }
    }
  }

  #key(source: Node | null): string {
    const node = source === null ? null : this.#target(source);
    this.#spend(node, 0);
    if (!isScalar(node)) throw this.#fault('COMPOSE_YAML_INVALID', source, 'Cannot parse YAML: a key must be text');
    const key = node.source ?? String(node.value ?? '');
    // Would be the prototype of the record, and is the name of nothing.
    if (key === '__proto__') throw this.#fault('COMPOSE_YAML_INVALID', source, 'Cannot parse YAML: "__proto__" cannot be a key');
    return key;
  }

  #target(node: Node): Node {
    return this.#document.targets.get(node) ?? node;
  }

  #spend(node: Node | null, depth: number): void {
    if (isScalar(node)) this.#text += (node.source ?? '').length;
    if (++this.#nodes > this.#limits.maxNodes || this.#text > this.#limits.maxText || depth > this.#limits.maxDepth) {
      throw this.#fault(
        'COMPOSE_TOO_COMPLEX',
        node,
        `Cannot read YAML: more than ${this.#limits.maxNodes} values, or nested deeper than ${this.#limits.maxDepth}`,
      );
    }
  }

  #fault(code: ComposeErrorCode, node: Node | null, message: string): Error {
    return faultAt(code, this.#at(node?.range?.[0] ?? 0), message);
  }
}

/** An alias stands for the last node before it with its anchor. */
function aliasTargets(contents: Node | null, at: (offset: number) => Position): Map<Node, Node> {
  const anchors = new Map<string, Node>();
  const targets = new Map<Node, Node>();
  if (contents === null) return targets;
  visit(contents, {
    Node(_key, node) {
      if (isAlias(node)) {
        const target = anchors.get(node.source);
        if (target === undefined)
          throw faultAt('COMPOSE_YAML_INVALID', at(node.range?.[0] ?? 0), `Cannot parse YAML: no anchor "${node.source}" before this alias`);
        targets.set(node, target);
      } else if (node.anchor !== undefined) anchors.set(node.anchor, node as Node);
    },
  });
  return targets;
}

/** Refuses nesting that would exhaust the stack of the library: flow brackets and `- - - -` in one line, and indentation. */
function checkNesting(text: string, file: string, maxDepth: number): void {
  let flow = 0;
  let dashes = 0;
  let lineStart = true;
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (char === 0x5b || char === 0x7b) flow++;
    else if (char === 0x5d || char === 0x7d) flow = Math.max(0, flow - 1);
    if (char === 0x0a) {
      lineStart = true;
      dashes = 0;
    } else if (char === 0x2d || char === 0x3f || char === 0x3a) {
      if (lineStart) dashes++;
    } else if (char !== 0x20 && char !== 0x09) lineStart = false;
    // Brackets in quoted text are counted too, so the bound is far above what a file nests.
    if (flow > maxDepth * 10 || dashes > maxDepth) {
      throw composeError('COMPOSE_TOO_COMPLEX', `Cannot parse ${file}: nested too deeply`, { data: { file } });
    }
  }
}

const INTEGER = /^[-+]?(?:0|[1-9][0-9_]*)$/;
const OCTAL = /^([-+]?)0o?([0-7_]+)$/;
const HEX = /^([-+]?)0x([0-9a-fA-F_]+)$/;
const BINARY = /^([-+]?)0b([01_]+)$/;
const FLOAT = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/;

function plainValue(text: string): string | number | boolean | null {
  switch (text) {
    case '':
    case '~':
    case 'null':
    case 'Null':
    case 'NULL':
      return null;
    case 'true':
    case 'True':
    case 'TRUE':
      return true;
    case 'false':
    case 'False':
    case 'FALSE':
      return false;
  }
  // Numbers are short; the patterns below are for those only.
  if (text.length > 64) return text;
  const number = INTEGER.test(text) ? Number(text.replaceAll('_', '')) : (radix(OCTAL, text, 8) ?? radix(HEX, text, 16) ?? radix(BINARY, text, 2));
  if (number !== undefined) return Number.isSafeInteger(number) ? number : text;
  if (!FLOAT.test(text)) return text;
  const float = Number(text);
  return Number.isFinite(float) ? float : text;
}

function radix(pattern: RegExp, text: string, base: number): number | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const digits = (match[2] as string).replaceAll('_', '');
  return digits === '' ? undefined : Number.parseInt(digits, base) * (match[1] === '-' ? -1 : 1);
}
