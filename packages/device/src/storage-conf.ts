/**
 * Edits the list of additional image stores in a containers `storage.conf`, and nothing else in it.
 *
 * Adding then removing a store gives the bytes from before. Source: containers-storage.conf(5), TOML 1.0.
 */
import { deviceError } from './errors.ts';

/** Marks lines that exist only because of this tool, so that they can go again. */
const MARK = '# added by cambium';
const TABLE = /^[ \t]*\[[ \t]*storage[ \t]*\.[ \t]*options[ \t]*\][ \t]*(?:#.*)?$/m;
const KEY = /^[ \t]*additionalimagestores[ \t]*=[ \t]*/m;

interface StoreList {
  /** Offsets of the `[…]` in the text. */
  start: number;
  end: number;
  stores: string[];
}

/** Returns the stores that the configuration lists. @throws DEVICE_STORAGE_CONF_INVALID */
export function listStores(text: string): string[] {
  return findList(text)?.stores ?? [];
}

/** Returns the configuration with `store` listed; unchanged when it is. @throws DEVICE_STORAGE_CONF_INVALID */
export function addStore(text: string, store: string): string {
  const list = findList(text);
  if (list !== undefined) {
    if (list.stores.includes(store)) return text;
    return replaceInside(text, list, (inside) => {
      const trimmed = inside.trimEnd();
      const tail = inside.slice(trimmed.length);
      if (trimmed.trim() === '') return `${quote(store)}${inside}`;
      return `${trimmed}${trimmed.endsWith(',') ? '' : ','} ${quote(store)}${tail}`;
    });
  }
  const line = `additionalimagestores = [${quote(store)}] ${MARK}\n`;
  const table = TABLE.exec(text);
  if (table !== null) {
    const after = table.index + table[0].length + 1;
    const withBreak = text.length < after ? `${text}\n` : text;
    return `${withBreak.slice(0, after)}${line}${withBreak.slice(after)}`;
  }
  return `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}[storage.options] ${MARK}\n${line}`;
}

/** Returns the configuration without `store`; what {@link addStore} brought in goes with it. @throws DEVICE_STORAGE_CONF_INVALID */
export function removeStore(text: string, store: string): string {
  const list = findList(text);
  if (list === undefined || !list.stores.includes(store)) return text;
  const lineStart = text.lastIndexOf('\n', list.start) + 1;
  const lineEnd = endOfLine(text, list.end);
  if (list.stores.length === 1 && text.slice(list.end, lineEnd).includes(MARK)) {
    const before = text.slice(0, lineStart);
    const table = `[storage.options] ${MARK}\n`;
    return (before.endsWith(table) ? before.slice(0, -table.length) : before) + text.slice(lineEnd);
  }
  return replaceInside(text, list, (inside) => {
    const escaped = quote(store).replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    const alternatives = `(?:${escaped}|'${store.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}')`;
    // With the comma before it where there is one, else with the comma after it.
    const withComma = inside.replace(new RegExp(`,[ \\t]*${alternatives}`), '');
    return withComma === inside ? inside.replace(new RegExp(`${alternatives}(?:,[ \\t]*)?`), '') : withComma;
  });
}

/** Returns the storage driver that the configuration names. */
export function storageDriver(text: string): string | undefined {
  return /^[ \t]*driver[ \t]*=[ \t]*["']([^"'\n]*)["']/m.exec(text)?.[1];
}

function findList(text: string): StoreList | undefined {
  const table = TABLE.exec(text);
  if (table === null) return undefined;
  const bodyStart = table.index + table[0].length;
  const next = /^[ \t]*\[/m.exec(text.slice(bodyStart + 1));
  const found = KEY.exec(text.slice(bodyStart));
  // A list's own bracket never opens a line before its key, so a table header between the two means the key is another table's.
  if (found === null || (next !== null && next.index + 1 < found.index)) return undefined;
  const start = bodyStart + found.index + found[0].length;
  const stores: string[] = [];
  const token = /\s+|#[^\n]*|,|"((?:[^"\\\n]|\\["\\])*)"|'([^'\n]*)'|(\])|(.)/y;
  if (text[start] !== '[') throw invalid('it is not a list');
  token.lastIndex = start + 1;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    if (match[3] !== undefined) return { start, end: token.lastIndex, stores };
    if (match[4] !== undefined) throw invalid(`unexpected "${match[4]}"`);
    if (match[1] !== undefined) stores.push(match[1].replace(/\\(["\\])/g, '$1'));
    else if (match[2] !== undefined) stores.push(match[2]);
  }
  throw invalid('the list does not end');
}

function replaceInside(text: string, list: StoreList, change: (inside: string) => string): string {
  return `${text.slice(0, list.start + 1)}${change(text.slice(list.start + 1, list.end - 1))}${text.slice(list.end - 1)}`;
}

function quote(store: string): string {
  return `"${store.replace(/["\\]/g, '\\$&')}"`;
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end === -1 ? text.length : end + 1;
}

function invalid(why: string): Error {
  return deviceError('DEVICE_STORAGE_CONF_INVALID', `Cannot edit storage.conf: additionalimagestores: ${why}`, {
    hint: 'Write it as: additionalimagestores = ["/a", "/b"]',
  });
}
