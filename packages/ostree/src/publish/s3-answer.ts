/** What S3-compatible stores answer: small documents in XML. */
import { parseXml, type XmlElement } from '../format/xml.ts';

const NOTHING: XmlElement = { name: '', attributes: new Map(), children: [], text: '' };

/** Returns the document of an answer; one without anything in it for what is none, as the pages of proxies. */
export function parseAnswer(body: Uint8Array): XmlElement {
  try {
    return parseXml(Buffer.from(body).toString('utf8'), (why) => new NotXml(why));
  } catch (error) {
    if (error instanceof NotXml) return NOTHING;
    throw error;
  }
}

class NotXml extends Error {}
