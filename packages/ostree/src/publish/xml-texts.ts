/** The little XML that stores answer with: flat elements with text in them. Source: XML 1.0, sections 2.4 and 4.6. */

const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** Returns the texts of all elements of a name that hold nothing but text, in their order. Never throws: what is not understood is not there. */
export function xmlTexts(xml: Uint8Array | string, name: string): string[] {
  const text = typeof xml === 'string' ? xml : Buffer.from(xml).toString('utf8');
  return [...text.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, 'g'))].map(([, inner]) => unescaped(inner as string));
}

/** Returns what stands inside each of the elements of a name, which do not nest in themselves. */
export function xmlElements(xml: Uint8Array, name: string): string[] {
  const text = Buffer.from(xml).toString('utf8');
  const found: string[] = [];
  const [start, end] = [`<${name}>`, `</${name}>`];
  for (let at = text.indexOf(start); at !== -1; ) {
    const stop = text.indexOf(end, at);
    if (stop === -1) break;
    found.push(text.slice(at + start.length, stop));
    at = text.indexOf(start, stop);
  }
  return found;
}

function unescaped(text: string): string {
  return text.replaceAll(/&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|([a-z]{2,4}));/g, (all, decimal?: string, hex?: string, name?: string) => {
    if (name !== undefined) return NAMED[name] ?? all;
    const point = decimal === undefined ? Number.parseInt(hex as string, 16) : Number(decimal);
    return point <= 0x10ffff ? String.fromCodePoint(point) : all;
  });
}
