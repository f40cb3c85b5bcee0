/** What of a repository's config is for those who pull. Its remotes may have passwords in their URLs. */
import { KeyFile } from '../format/key-file.ts';

/** Of an archive repository that nobody has set anything in. */
export const NEW_PUBLIC_CONFIG = '[core]\nrepo_version=1\nmode=archive-z2\n';

/**
 * Returns the config that clients may see: the groups `[core]` and `[ex-…]`, without comments, which may hold what was taken
 * out of use. @throws OSTREE_CONFIG_INVALID
 */
export function publicConfig(text: string): string {
  const config = KeyFile.parse(text, 'config');
  const groups = config.groups().filter((name) => name === 'core' || name.startsWith('ex-'));
  return groups
    .map(
      (name) =>
        `[${name}]\n${config
          .keys(name)
          .map((key) => `${key}=${config.raw(name, key)}\n`)
          .join('')}`,
    )
    .join('\n');
}
