/**
 * The XML of metalinks and of the answers of stores: small, from whom nobody knows. Nothing expands: document types are refused,
 * and with them all entities but the five of XML itself.
 */
import { SaxesParser } from 'saxes';

export interface XmlElement {
  name: string;
  attributes: ReadonlyMap<string, string>;
  children: readonly XmlElement[];
  /** Between its tags, without what is in its children. */
  text: string;
}

const MAX_DEPTH = 64;

/**
 * Returns the element at the top of a document. All of it is held: the caller bounds its length.
 * @param refuse makes the failure for what is no well formed document
 */
export function parseXml(text: string, refuse: (why: string) => Error): XmlElement {
  const top: XmlElement & { children: XmlElement[] } = { name: '', attributes: new Map(), children: [], text: '' };
  const open = [top];
  const parser = new SaxesParser();
  const fail = (why: string): Error => refuse(`line ${parser.line}: ${why}`);
  parser.on('error', (error) => {
    // The parser's own words begin with line and column.
    const why = error.message.replace(/^\d+:\d+: /, '');
    throw fail(top.children.length === 0 ? `Document must begin with an element (${why})` : why);
  });
  parser.on('doctype', () => {
    throw fail('document types are not read');
  });
  parser.on('opentag', ({ name, attributes }) => {
    if (open.length > MAX_DEPTH) throw fail(`elements are nested deeper than ${MAX_DEPTH}`);
    const element = { name, attributes: new Map(Object.entries(attributes)), children: [], text: '' };
    open.at(-1)?.children.push(element);
    open.push(element);
  });
  const addText = (piece: string): void => {
    const element = open.at(-1);
    if (element !== undefined) element.text += piece;
  };
  parser.on('text', addText);
  parser.on('cdata', addText);
  parser.on('closetag', () => void open.pop());
  parser.write(text).close();
  return top.children[0] as XmlElement;
}

/** Returns the children of a name, in their order. */
export function childrenOf(element: XmlElement, name: string): XmlElement[] {
  return element.children.filter((child) => child.name === name);
}

/** Returns the text of the first child of a name, or undefined when there is none. */
export function textOf(element: XmlElement, name: string): string | undefined {
  return element.children.find((child) => child.name === name)?.text;
}
