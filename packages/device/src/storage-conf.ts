/**
 * Edits the list of additional image stores in a containers `storage.conf`, and nothing else in it.
 *
 * Adding then removing stores, in any order, gives the bytes from before. Source: containers-storage.conf(5), TOML 1.0.
 */
import { deviceError } from './errors.ts';

/** Marks lines that exist only because of this tool, so that they can go again. */
const MARK = '# added by cambium';
const TABLE = /^[ \t]*\[[ \t]*storage[ \t]*\.[ \t]*options[ \t]*\][ \t]*(?:#.*)?$/m;
const KEY = /^[ \t]*additionalimagestores[ \t]*=[ \t]*/m;
/** Other ways of TOML to write the table or the key: rare, and adding a second one would make the file invalid. */
const UNUSUAL =
  /^[ \t]*(?:\[[ \t]*["']?storage["']?[ \t]*\.[ \t]*["']options["']|\[[ \t]*["']storage["'][ \t]*[.\]]|(?:storage[ \t]*\.[ \t]*)?["']?options["']?[ \t]*[.=]|["']additionalimagestores["'])/m;

interface Span {
  start: number;
  end: number;
}

interface StoreList extends Span {
  /** `start` and `end` of the whole `[…]`; the elements with their quotes. */
  elements: (Span & { store: string })[];
  commas: Span[];
}

/** Returns the stores that the configuration lists; podman takes a name from the first that has it. @throws DEVICE_STORAGE_CONF_INVALID */
export function listStores(text: string): string[] {
  return findList(text)?.elements.map(({ store }) => store) ?? [];
}

/**
 * Returns the configuration with `store` listed first, so that the names of its images win over those mounted before;
 * unchanged when it is listed.
 *
 * @throws DEVICE_STORAGE_CONF_INVALID
 */
export function addStore(text: string, store: string): string {
  if (/[,\x00-\x1f\x7f]/.test(store)) throw invalid(`podman cannot use a path with a comma or a control character: ${JSON.stringify(store)}`);
  const list = findList(text);
  if (list !== undefined) {
    const [first] = list.elements;
    if (list.elements.some((element) => element.store === store)) return text;
    const at = first?.start ?? list.start + 1;
    return `${text.slice(0, at)}${quote(store)}${first === undefined ? '' : ', '}${text.slice(at)}`;
  }
  if (UNUSUAL.test(text)) throw invalid('the table is not written as [storage.options]');
  const line = `additionalimagestores = [${quote(store)}] ${MARK}\n`;
  const table = TABLE.exec(text);
  if (table !== null) {
    const end = table.index + table[0].length;
    // A last line without its break stays so: the break goes in front, and away again with the line.
    if (end === text.length) return `${text}\n${line.slice(0, -1)}`;
    return `${text.slice(0, end + 1)}${line}${text.slice(end + 1)}`;
  }
  const added = `[storage.options] ${MARK}\n${line}`;
  return text === '' || text.endsWith('\n') ? `${text}${added}` : `${text}\n${added.slice(0, -1)}`;
}

/** Returns the configuration without `store`; what {@link addStore} brought in goes with it. @throws DEVICE_STORAGE_CONF_INVALID */
export function removeStore(text: string, store: string): string {
  const list = findList(text);
  const at = list?.elements.findIndex((element) => element.store === store) ?? -1;
  if (list === undefined || at === -1) return text;
  if (list.elements.length === 1 && text.slice(list.end, endOfLine(text, list.end)).includes(MARK)) return removeLine(text, list);
  const element = list.elements[at] as Span;
  const after = list.commas.find((comma) => comma.start >= element.end);
  const before = list.commas.findLast((comma) => comma.end <= element.start);
  const next = list.elements[at + 1];
  if (after !== undefined && (next !== undefined || before === undefined)) {
    const space = next !== undefined && text[after.end] === ' ' ? 1 : 0;
    return cut(text, { start: element.start, end: after.end + space });
  }
  return cut(text, { start: before?.start ?? element.start, end: element.end });
}

/** Returns the storage driver that the configuration names. */
export function storageDriver(text: string): string | undefined {
  return storageText(text, 'driver');
}

/** Returns a string of the `[storage]` table. */
export function storageText(text: string, key: 'driver' | 'rootless_storage_path'): string | undefined {
  const table = /^[ \t]*\[[ \t]*storage[ \t]*\][ \t]*(?:#.*)?$/m.exec(text);
  if (table === null) return undefined;
  const body = text.slice(table.index + table[0].length);
  const end = /^[ \t]*\[/m.exec(body)?.index ?? body.length;
  return new RegExp(`^[ \\t]*${key}[ \\t]*=[ \\t]*["']([^"'\\n]*)["']`, 'm').exec(body.slice(0, end))?.[1];
}

/** Takes out the line of the list, and the table's where that is ours too, with the breaks that {@link addStore} put in. */
function removeLine(text: string, list: StoreList): string {
  const table = `[storage.options] ${MARK}\n`;
  let start = text.lastIndexOf('\n', list.start) + 1;
  if (text.slice(0, start).endsWith(table)) start -= table.length;
  const end = endOfLine(text, list.end);
  // The text had no break at its end: the one before the line is ours.
  if (text[end - 1] !== '\n') start--;
  return cut(text, { start, end });
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
  if (text[start] !== '[') throw invalid('it is not a list');
  const list: StoreList = { start, end: start, elements: [], commas: [] };
  const token = /\s+|#[^\n]*|(,)|"((?:[^"\\\n]|\\["\\])*)"|'([^'\n]*)'|(\])|(.)/y;
  token.lastIndex = start + 1;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [, comma, basic, literal, close, other] = match;
    const span: Span = { start: match.index, end: token.lastIndex };
    if (close !== undefined) return { ...list, end: span.end };
    if (other !== undefined) throw invalid(`unexpected "${other}"`);
    const store = basic?.replace(/\\(["\\])/g, '$1') ?? literal;
    if (comma !== undefined) list.commas.push(span);
    else if (store !== undefined) list.elements.push({ ...span, store });
  }
  throw invalid('the list does not end');
}

function cut(text: string, span: Span): string {
  return text.slice(0, span.start) + text.slice(span.end);
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
    hint: 'Write it under [storage.options] as: additionalimagestores = ["/a", "/b"]',
  });
}
