/** The command tree with every command loaded: what completion and documentation are printed from. */
import { type Command, type Flags, type Group, isGroup } from './command.ts';
import { globalFlagsFor } from './help.ts';
import { flagsOfVerb } from './ostree/help.ts';
import type { Verb } from './ostree/verb.ts';
import { COMMAND_TREE } from './tree.ts';

export interface CatalogueCommand {
  /** As typed: `cambium ostree ls`. */
  readonly path: string;
  readonly summary: string;
  readonly command: Command;
  /** Own flags first, then those all commands take. */
  readonly flags: Flags;
  readonly dialect: 'cambium' | 'ostree';
}

export interface CatalogueGroup {
  readonly path: string;
  readonly summary: string;
  readonly children: readonly (CatalogueGroup | CatalogueCommand)[];
}

export function isCatalogueGroup(node: CatalogueGroup | CatalogueCommand): node is CatalogueGroup {
  return 'children' in node;
}

export async function loadCatalogue(
  group: Group = COMMAND_TREE,
  path: string = group.name,
  dialect: CatalogueCommand['dialect'] = 'cambium',
): Promise<CatalogueGroup> {
  const children = await Promise.all(
    group.children
      .filter((child) => isGroup(child) || child.hidden !== true)
      .map(async (child): Promise<CatalogueGroup | CatalogueCommand> => {
        const childPath = `${path} ${child.name}`;
        if (isGroup(child)) return loadCatalogue(child, childPath, child.dialect ?? dialect);
        const command = await child.load();
        const flags = dialect === 'ostree' ? flagsOfVerb(command as Verb) : { ...command.flags, ...globalFlagsFor(command) };
        return { path: childPath, summary: child.summary, command, flags, dialect };
      }),
  );
  return { path, summary: group.summary, children };
}

/** Returns all commands below `group`, depth first. */
export function commandsOf(group: CatalogueGroup): CatalogueCommand[] {
  return group.children.flatMap((child) => (isCatalogueGroup(child) ? commandsOf(child) : [child]));
}

/** Returns `group` and all groups below it. */
export function groupsOf(group: CatalogueGroup): CatalogueGroup[] {
  return [group, ...group.children.filter(isCatalogueGroup).flatMap(groupsOf)];
}
