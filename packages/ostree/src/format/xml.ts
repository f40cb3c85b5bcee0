/**
 * The XML of metalinks and of the answers of stores: small, from whom nobody knows. Nothing expands: document types are refused,
 * and with them all entities but the five of XML itself.
 */
import { SaxesParser } from 'saxes';

export type XmlEvent =
  | { type: 'open'; name: string; attributes: ReadonlyMap<string, string> }
  | { type: 'text'; text: string }
  /** Follows its `open` for an empty element too. */
  | { type: 'close'; name: string };

const MAX_DEPTH = 64;

/**
 * Returns what is in a document. It is held whole: the caller bounds its length.
 * @param refuse makes the failure for what is no well formed document
 */
export function readXml(text: string, refuse: (why: string) => Error): XmlEvent[] {
  const events: XmlEvent[] = [];
  const parser = new SaxesParser();
  let depth = 0;
  const fail = (why: string): Error => refuse(`line ${parser.line}: ${why}`);
  parser.on('error', (error) => {
    // The parser's own words begin with line and column.
    const why = error.message.replace(/^\d+:\d+: /, '');
    throw fail(events.length === 0 ? `Document must begin with an element (${why})` : why);
  });
  parser.on('doctype', () => {
    throw fail('document types are not read');
  });
  parser.on('opentag', ({ name, attributes }) => {
    if (++depth > MAX_DEPTH) throw fail(`elements are nested deeper than ${MAX_DEPTH}`);
    events.push({ type: 'open', name, attributes: new Map(Object.entries(attributes)) });
  });
  parser.on('text', (piece) => void (depth > 0 && events.push({ type: 'text', text: piece })));
  parser.on('cdata', (piece) => void events.push({ type: 'text', text: piece }));
  parser.on('closetag', ({ name }) => {
    depth--;
    events.push({ type: 'close', name });
  });
  parser.write(text).close();
  return events;
}
