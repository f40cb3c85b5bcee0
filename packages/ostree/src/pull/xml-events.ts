/**
 * A strict, bounded reader of the XML that metalinks are written in: elements, attributes, text, comments, processing
 * instructions. There are no document types, so there are no entities but the five of XML itself: nothing expands.
 *
 * Source: XML 1.0, fifth edition, productions 1 to 43, without 28 to 30; GLib's GMarkup draws the line nearly there.
 */

export type XmlEvent =
  | { type: 'open'; name: string; attributes: ReadonlyMap<string, string> }
  | { type: 'text'; text: string }
  /** Follows its `open` for an empty element too. */
  | { type: 'close'; name: string };

const MAX_DEPTH = 64;
const MAX_ATTRIBUTES = 64;
const NAME = '[A-Za-z_:][\\w:.-]*';
const SPACE = '[ \\t\\r\\n]';
const OPEN = new RegExp(`<(${NAME})`, 'y');
const ATTRIBUTE = new RegExp(`${SPACE}+(${NAME})${SPACE}*=${SPACE}*(?:"([^"<]*)"|'([^'<]*)')`, 'y');
const OPEN_END = new RegExp(`${SPACE}*(/?)>`, 'y');
const CLOSE = new RegExp(`</(${NAME})${SPACE}*>`, 'y');
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
/** Not in XML, and in no name or URL. */
const CONTROL = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/;

/** Yields what is in a document, which has one element at its top. @param refuse makes the failure for a document that is none */
export function* readXml(text: string, refuse: (why: string) => Error): Generator<XmlEvent, void, undefined> {
  const fail = (why: string): Error => refuse(`line ${text.slice(0, at).split('\n').length}: ${why}`);
  const open: string[] = [];
  let at = text.startsWith('\ufeff') ? 1 : 0;
  let seenRoot = false;
  const match = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text) ?? undefined;
    if (found !== undefined) at = pattern.lastIndex;
    return found;
  };
  const skipPast = (end: string, from: number): string => {
    const found = text.indexOf(end, from);
    if (found === -1) throw fail('Document ended unexpectedly');
    at = found + end.length;
    return text.slice(from, found);
  };
  if (CONTROL.test(text)) throw fail('Invalid character');
  while (at < text.length) {
    if (text[at] !== '<') {
      const next = text.indexOf('<', at);
      const piece = text.slice(at, next === -1 ? text.length : next);
      if (open.length > 0) yield { type: 'text', text: resolveEntities(piece, fail) };
      else if (piece.trim() !== '') throw fail(seenRoot ? 'Text after the end of the document' : 'Document must begin with an element');
      at += piece.length;
    } else if (text.startsWith('<!--', at)) skipPast('-->', at + 4);
    else if (text.startsWith('<?', at)) skipPast('?>', at + 2);
    else if (text.startsWith('<![CDATA[', at) && open.length > 0) yield { type: 'text', text: skipPast(']]>', at + 9) };
    else if (text.startsWith('</', at)) {
      const name = match(CLOSE)?.[1];
      if (name === undefined || name !== open.pop()) throw fail('Element was closed, but is not the one that is open');
      yield { type: 'close', name };
    } else {
      const name = match(OPEN)?.[1];
      if (name === undefined) throw fail('Not an element');
      if (open.length === 0 && seenRoot) throw fail('A second element at the top');
      if (open.length === MAX_DEPTH) throw fail(`Elements are nested deeper than ${MAX_DEPTH}`);
      const attributes = new Map<string, string>();
      for (let found = match(ATTRIBUTE); found !== undefined; found = match(ATTRIBUTE)) {
        const key = found[1] as string;
        if (attributes.has(key) || attributes.size === MAX_ATTRIBUTES) throw fail('An attribute twice, or too many');
        attributes.set(key, resolveEntities(found[2] ?? found[3] ?? '', fail));
      }
      const end = match(OPEN_END);
      if (end === undefined) throw fail(`Element "${name.slice(0, 100)}" is not well formed`);
      seenRoot = true;
      yield { type: 'open', name, attributes };
      if (end[1] === '/') yield { type: 'close', name };
      else open.push(name);
    }
  }
  if (!seenRoot) throw fail('Document must begin with an element');
  if (open.length > 0) throw fail('Document ended unexpectedly');
}

function resolveEntities(text: string, fail: (why: string) => Error): string {
  return text.replace(/&([^;&]{0,10};?)/g, (_all, reference: string) => {
    const digits = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}));$/.exec(reference);
    if (digits !== null) {
      const code = digits[1] === undefined ? Number(digits[2]) : Number.parseInt(digits[1], 16);
      const isCharacter = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) && !CONTROL.test(String.fromCodePoint(code));
      if (isCharacter) return String.fromCodePoint(code);
    }
    const known = reference.endsWith(';') && Object.hasOwn(ENTITIES, reference.slice(0, -1)) ? ENTITIES[reference.slice(0, -1)] : undefined;
    if (known === undefined) throw fail('Unknown entity');
    return known;
  });
}
