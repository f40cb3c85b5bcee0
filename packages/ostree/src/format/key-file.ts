/**
 * GKeyFile documents (`config`, remotes, deployment origins) that keep their comments, order and spelling.
 *
 * Source: GLib "Key-value file parser"; Desktop Entry Specification 1.5, basic format.
 */
import { ostreeError } from '../errors.ts';

interface Line {
  /** As it stands in the file, without line end. */
  text: string;
  /** Set for `key=value` lines. */
  key?: string;
  value?: string;
}

interface Group {
  /** Undefined for what stands above the first group: comments only. */
  name: string | undefined;
  /** The header line as written. */
  header: string;
  lines: Line[];
}

/** An ini-like document: groups of keys with text values. Reading is strict; writing changes only what was set. */
export class KeyFile {
  #groups: Group[] = [{ name: undefined, header: '', lines: [] }];

  /** Returns the document in `text`. @throws OSTREE_CONFIG_INVALID naming the line */
  static parse(text: string, what = 'key file'): KeyFile {
    const file = new KeyFile();
    let group = file.#groups[0] as Group;
    const lines = text.split('\n');
    if (lines.at(-1) === '') lines.pop();
    for (const [index, line] of lines.entries()) {
      const whole = line.endsWith('\r') ? line.slice(0, -1) : line;
      // One of two carriage returns is of the value, as GLib has it: without the other it would be lost by the next who reads.
      const kept = whole.endsWith('\r') ? line : whole;
      const trimmed = whole.trimStart();
      if (trimmed === '' || trimmed.startsWith('#')) {
        group.lines.push({ text: kept });
        continue;
      }
      if (trimmed.startsWith('[')) {
        const name = /^\[([^[\]\x00-\x1f\x7f]+)\]\s*$/.exec(trimmed)?.[1];
        if (name === undefined) throw invalid(what, index, 'not a group header');
        const present = file.#groups.find((other) => other.name === name);
        group = present ?? { name, header: kept, lines: [] };
        if (present === undefined) file.#groups.push(group);
        continue;
      }
      const equals = trimmed.indexOf('=');
      const key = trimmed.slice(0, Math.max(equals, 0)).trimEnd();
      if (equals < 0 || key === '' || /[[\]]/.test(key.replace(/\[[\w.@-]+\]$/, ''))) throw invalid(what, index, 'neither a comment, a group nor key=value');
      if (group.name === undefined) throw invalid(what, index, 'a key before the first group');
      group.lines.push({ text: kept, key, value: trimmed.slice(equals + 1).trimStart() });
    }
    return file;
  }

  groups(): string[] {
    return this.#groups.flatMap((group) => group.name ?? []);
  }

  /** Returns the keys of a group in order, without duplicates; none when there is no such group. */
  keys(group: string): string[] {
    return [...new Set(this.#group(group)?.lines.flatMap((line) => line.key ?? []))];
  }

  has(group: string, key?: string): boolean {
    return key === undefined ? this.#group(group) !== undefined : this.raw(group, key) !== undefined;
  }

  /** Returns a value as written, escapes and all; of duplicates the last. */
  raw(group: string, key: string): string | undefined {
    return this.#group(group)?.lines.findLast((line) => line.key === key)?.value;
  }

  /** Returns a value with its escapes resolved. @throws OSTREE_CONFIG_INVALID */
  string(group: string, key: string): string | undefined {
    const raw = this.raw(group, key);
    return raw === undefined ? undefined : unescapeValue(raw, `${group}.${key}`);
  }

  /** Returns `true`/`1` or `false`/`0`. @throws OSTREE_CONFIG_INVALID */
  boolean(group: string, key: string): boolean | undefined {
    const raw = this.raw(group, key)?.trimEnd();
    if (raw === undefined) return undefined;
    if (raw === 'true' || raw === '1') return true;
    if (raw === 'false' || raw === '0') return false;
    throw ostreeError('OSTREE_CONFIG_INVALID', `Cannot read ${group}.${key}: "${raw}" is not a boolean`);
  }

  /** Returns a decimal integer. @throws OSTREE_CONFIG_INVALID */
  integer(group: string, key: string): number | undefined {
    const raw = this.raw(group, key)?.trim();
    if (raw === undefined) return undefined;
    const value = Number(raw);
    if (!/^[+-]?\d+$/.test(raw) || !Number.isSafeInteger(value))
      throw ostreeError('OSTREE_CONFIG_INVALID', `Cannot read ${group}.${key}: "${raw}" is not an integer`);
    return value;
  }

  /** Returns a `;`-separated list; the last separator is optional, `\;` is a semicolon in an item. */
  list(group: string, key: string): string[] | undefined {
    const raw = this.raw(group, key);
    if (raw === undefined) return undefined;
    const items = [...raw.matchAll(/((?:\\.|[^\\;])*)(?:;|$)/gs)].map((match) => match[1] as string);
    while (items.at(-1) === '') items.pop();
    return items.map((item) => unescapeValue(item.replaceAll('\\;', ';'), `${group}.${key}`));
  }

  /** Sets a text value, escaping what must be; a new key comes after the last of its group, a new group at the end. */
  set(group: string, key: string, value: string): void {
    this.setRaw(group, key, escapeValue(value));
  }

  setRaw(group: string, key: string, value: string): void {
    if (!isGroupName(group) || key === '' || /[=[\]\n\r#]|^\s|\s$/.test(key.replace(/\[[\w.@-]+\]$/, '')) || /[\n\r]/.test(value)) {
      throw ostreeError('OSTREE_CONFIG_INVALID', `Cannot set "${group}.${key}": not a group and key name`);
    }
    let target = this.#group(group);
    if (target === undefined) {
      target = { name: group, header: `[${group}]`, lines: [] };
      const last = this.#groups.at(-1) as Group;
      // Groups are parted by an empty line, as GLib writes them.
      if (this.#groups.length > 1 && last.lines.at(-1)?.text !== '') last.lines.push({ text: '' });
      this.#groups.push(target);
    }
    const line: Line = { text: `${key}=${value}`, key, value };
    const at = target.lines.findLastIndex((other) => other.key === key);
    if (at >= 0) target.lines[at] = line;
    else target.lines.splice(target.lines.findLastIndex((other) => other.key !== undefined) + 1, 0, line);
    target.lines = target.lines.filter((other) => other === line || other.key !== key);
  }

  /** Removes a key; returns whether it was there. */
  unset(group: string, key: string): boolean {
    const target = this.#group(group);
    if (target === undefined || !this.has(group, key)) return false;
    target.lines = target.lines.filter((line) => line.key !== key);
    return true;
  }

  /** Removes a group with all its keys and comments; returns whether it was there. */
  removeGroup(name: string): boolean {
    const at = this.#groups.findIndex((group) => group.name === name);
    if (at < 1) return false;
    this.#groups.splice(at, 1);
    // The empty line that parted the last group from the one before goes with it, as GLib has it.
    const lines = this.#groups.at(-1)?.lines;
    if (at === this.#groups.length && lines?.at(-1)?.text === '') lines.pop();
    return true;
  }

  toString(): string {
    const lines = this.#groups.flatMap((group) => [...(group.name === undefined ? [] : [group.header]), ...group.lines.map((line) => line.text)]);
    return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
  }

  #group(name: string): Group | undefined {
    return this.#groups.find((group) => group.name === name);
  }
}

function isGroupName(name: string): boolean {
  return /^[^[\]\x00-\x1f\x7f]+$/.test(name);
}

function invalid(what: string, index: number, why: string): Error {
  return ostreeError('OSTREE_CONFIG_INVALID', `Cannot parse ${what}: line ${index + 1} is ${why}`, { data: { line: index + 1 } });
}

const ESCAPES: Readonly<Record<string, string>> = { s: ' ', n: '\n', t: '\t', r: '\r', '\\': '\\' };

function unescapeValue(raw: string, where: string): string {
  return raw.replace(/\\(.|$)/gs, (_whole, letter: string) => {
    const text = ESCAPES[letter];
    if (text === undefined) throw ostreeError('OSTREE_CONFIG_INVALID', `Cannot read ${where}: unknown escape "\\${letter}"`);
    return text;
  });
}

/** As g_key_file_set_string: leading spaces, line ends, tabs and backslashes. */
function escapeValue(value: string): string {
  const leading = /^[ \t]*/.exec(value)?.[0] ?? '';
  const rest = value.slice(leading.length);
  return (
    leading.replaceAll(' ', '\\s').replaceAll('\t', '\\t') +
    rest.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\r', '\\r').replaceAll('\t', '\\t')
  );
}
