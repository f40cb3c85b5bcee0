/** The `WWW-Authenticate` header. Source: RFC 9110 section 11; distribution-spec token authentication. */

export interface AuthChallenge {
  /** Lower case: `bearer`, `basic`, … */
  scheme: string;
  /** Keys in lower case. */
  parameters: Record<string, string>;
}

/** No honest header is longer. */
const MAX_HEADER_LENGTH = 16 * 1024;
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const SPACE = /[ \t]*/y;

/**
 * Returns the challenges in a header, in order. What cannot be read ends the list: a challenge that makes no sense is no challenge.
 *
 * @example
 * parseChallenges('Bearer realm="https://auth.example/token",service="r"');
 */
export function parseChallenges(header: string | readonly string[] | undefined): AuthChallenge[] {
  const text = typeof header === 'string' ? header : (header ?? []).join(', ');
  if (text.length > MAX_HEADER_LENGTH) return [];
  const challenges: AuthChallenge[] = [];
  let at = 0;
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };

  while (at < text.length) {
    match(SPACE);
    if (text[at] === ',') {
      at++;
      continue;
    }
    const word = match(TOKEN);
    if (word === undefined) break;
    match(SPACE);
    const current = challenges.at(-1);
    if (text[at] !== '=' || current === undefined) {
      challenges.push({ scheme: word.toLowerCase(), parameters: Object.create(null) as Record<string, string> });
      continue;
    }
    at++;
    match(SPACE);
    const value = text[at] === '"' ? quoted() : match(TOKEN);
    if (value === undefined) break;
    current.parameters[word.toLowerCase()] ??= value;
  }
  return challenges;

  function quoted(): string | undefined {
    let value = '';
    for (let i = at + 1; i < text.length; i++) {
      const char = text[i] as string;
      if (char === '"') {
        at = i + 1;
        return value;
      }
      if (char === '\\') {
        i++;
        value += text[i] ?? '';
      } else value += char;
    }
    return undefined;
  }
}
