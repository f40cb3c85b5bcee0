/** Keeps credentials out of messages and events. */

/** Returns a URL without user, password, query and fragment: signed URLs and token requests carry secrets there. */
export function displayUrl(url: URL | string): string {
  const parsed = typeof url === 'string' ? new URL(url) : url;
  return `${parsed.protocol}//${parsed.host}${parsed.pathname}`;
}

export interface Secrets {
  /** Remembers a secret that has been sent to a peer, and its encoded form. */
  add(...secrets: (string | undefined)[]): void;
  /** Returns text of a peer as one short printable line without any of the secrets. */
  clean(text: string): string;
}

const MAX_SECRETS = 256;
const MAX_TEXT = 300;

export function createSecrets(): Secrets {
  const known = new Set<string>();
  return {
    add(...secrets) {
      for (const secret of secrets) {
        // Very short ones would erase ordinary words; nobody learns much from them.
        if (secret === undefined || secret.length < 4) continue;
        known.add(secret);
        if (known.size > MAX_SECRETS) known.delete(known.values().next().value as string);
      }
    },
    clean(text) {
      let result = text.slice(0, 16 * 1024);
      for (const secret of known) result = result.replaceAll(secret, '***');
      return result
        .replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
        .trim()
        .slice(0, MAX_TEXT);
    },
  };
}
