/** Project names. Source: compose-spec "Name top-level element"; compose-go `loader.NormalizeProjectName`. */
import { composeError } from './errors.ts';

/** Returns `text` as a project name: lower case, only letters, digits, `_` and `-`, starting with a letter or digit; may be empty. */
export function normalizeProjectName(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z0-9_-]/g, '')
    .replace(/^[_-]+/, '');
}

/** Returns `text` if it is a project name as it stands. @throws COMPOSE_PROJECT_NAME_INVALID */
export function checkProjectName(text: string, from: string): string {
  if (text === '' || normalizeProjectName(text) !== text) {
    throw composeError('COMPOSE_PROJECT_NAME_INVALID', `Cannot use project name "${text.slice(0, 80)}" from ${from}`, {
      hint: 'A name has lower-case letters, digits, "_" and "-", and starts with a letter or digit',
    });
  }
  return text;
}
