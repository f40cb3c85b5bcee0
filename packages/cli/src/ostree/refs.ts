import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Checksum, compareUtf8 } from '@cambium/base';
import { autoUpdateSummary, isCollectionId, isRefName, listCollectionRefs, parseRefspec, type Repo } from '@cambium/ostree';
import { OstreeFailure, type Verb, type VerbContext } from './verb.ts';

const flags = {
  delete: { kind: 'flag', help: 'Delete refs which match PREFIX, rather than listing them' },
  list: { kind: 'flag', help: 'Do not remove the prefix from the refs' },
  revision: { kind: 'flag', short: 'r', help: 'Show revisions in listing' },
  alias: { kind: 'flag', short: 'A', help: 'If used with --create, create an alias, otherwise just list aliases' },
  create: { kind: 'text', value: 'NEWREF', help: 'Create a new ref for an existing commit' },
  collections: { kind: 'flag', short: 'c', help: 'Enable listing collection IDs for refs' },
  force: { kind: 'flag', help: 'Overwrite existing refs when creating' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'List refs',
  operands: [{ name: 'PREFIX', help: '', optional: true }],
  flags,
  json: '[{ ref, commit }]; with --collections [{ collection, ref, commit }], with --alias [{ ref, target }]; refs are whole, whatever the prefix',
  examples: [
    { command: 'cambium ostree refs --repo=./repo', explains: 'List all refs' },
    { command: 'cambium ostree refs --repo=./repo --create=apps/shop/stable apps/shop', explains: 'Give a commit another name' },
  ],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    if (operands.length >= 1) {
      if (values.create !== undefined && operands.length > 1) throw new OstreeFailure('You must specify only 1 existing ref when creating a new ref');
      for (const operand of operands) act(repo, context, values, operand);
      if (values.create !== undefined || values.delete) await autoUpdateSummary(repo, context.signal);
      return undefined;
    }
    if (values.create !== undefined) throw new OstreeFailure('You must specify a revision when creating a new ref');
    if (values.delete) throw new OstreeFailure('At least one PREFIX is required when deleting refs');
    act(repo, context, values, undefined);
    return undefined;
  },
};

interface Choice {
  delete: boolean;
  list: boolean;
  revision: boolean;
  alias: boolean;
  create: string | undefined;
  collections: boolean;
  force: boolean;
}

function act(repo: Repo, context: VerbContext, choice: Choice, prefix: string | undefined): void {
  if (choice.collections) actOnCollections(repo, context, choice, prefix);
  else if (choice.create !== undefined && prefix !== undefined) create(repo, choice.create, prefix, choice);
  else if (choice.delete && prefix !== undefined) remove(repo, repo.refs.aliases(), prefix);
  else if (choice.alias) listAliases(repo, context, prefix);
  else listRefs(repo, context, choice, prefix);
}

function listAliases(repo: Repo, { ui }: VerbContext, prefix: string | undefined): void {
  const aliases = [...repo.refs.aliases()].filter(([alias]) => prefix === undefined || alias === prefix || alias.startsWith(`${prefix}/`));
  if (ui.json) ui.resultJsonList(aliases.map(([ref, target]) => ({ ref, target })));
  else for (const [alias, ref] of aliases) ui.result(`${alias} -> ${ref}`);
}

function listRefs(repo: Repo, context: VerbContext, choice: Choice, prefix: string | undefined): void {
  if (prefix !== undefined) checkPrefix(prefix);
  const wanted = prefix?.replace(/:\.$/, ':');
  // A damaged repository must not look like an empty one.
  const missing = ['heads', 'remotes'].find((name) => !existsSync(join(repo.path, 'refs', name)));
  if (missing !== undefined) throw new OstreeFailure(`Listing refs: opendir(refs/${missing}): No such file or directory`);
  const refs = repo.refs.list(wanted);
  if (context.ui.json) {
    context.ui.resultJsonList([...refs].map(([ref, commit]) => ({ ref, commit })));
    return;
  }
  for (const [name, checksum] of refs) {
    const shown = choice.list || wanted === undefined ? name : withoutPrefix(name, wanted);
    context.ui.result(choice.revision ? `${shown}\t${checksum}` : shown);
  }
}

function checkPrefix(prefix: string): void {
  if (!isPrefix(prefix)) throw new OstreeFailure(`Listing refs: Invalid refspec ${prefix}`);
}

/** A ref, a ref of a remote, or a whole remote, as `origin:` or `origin:.`. */
function isPrefix(text: string): boolean {
  const colon = text.indexOf(':');
  return (
    (colon < 0 || isRefName(text.slice(0, colon))) &&
    ((colon >= 0 && colon === text.length - 1) || (colon >= 0 && text.endsWith(':.')) || isRefName(text.slice(colon + 1)))
  );
}

/** The remote stays, and so does the ref that is the prefix itself. */
function withoutPrefix(name: string, prefix: string): string {
  const refAt = prefix.indexOf(':') + 1;
  const directory = `${prefix}/`;
  return refAt < prefix.length && name.startsWith(directory) ? name.slice(0, refAt) + name.slice(directory.length) : name;
}

function create(repo: Repo, name: string, target: string, choice: Choice): void {
  const replacesAlias = choice.alias && repo.refs.aliases().has(name);
  if (!choice.force && !replacesAlias && repo.refs.read(name) !== undefined) throw new OstreeFailure(`--create specified but ref ${name} already exists`);
  if (choice.alias) {
    const { remote } = parseRefspec(name);
    if (remote !== undefined) throw new OstreeFailure(`Cannot create alias to remote ref: ${remote}`);
    repo.refs.writeAlias(name, target);
    return;
  }
  repo.refs.write(name, repo.refs.resolve(target));
}

function remove(repo: Repo, aliases: ReadonlyMap<string, string>, prefix: string): void {
  checkPrefix(prefix);
  const going = new Set(repo.refs.list(prefix).keys());
  for (const ref of going) {
    const alias = [...aliases].find(([name, target]) => target === ref && name !== ref)?.[0];
    if (alias !== undefined) throw new OstreeFailure(`Ref '${ref}' has an active alias: '${alias}'`);
  }
  for (const ref of going) repo.refs.write(ref, undefined);
}

function actOnCollections(repo: Repo, context: VerbContext, choice: Choice, collection: string | undefined): void {
  if (choice.create !== undefined && collection !== undefined) {
    const wanted = parseCollectionRef(choice.create);
    // As libostree, which overwrites refs of collections without --force.
    repo.refs.writeCollectionRef(wanted.collection, wanted.ref, repo.refs.resolve(collection));
    return;
  }
  if (collection !== undefined && !isCollectionId(collection)) throw new OstreeFailure(`Listing refs: Invalid collection ID ${collection}`);
  const rows = listCollectionRefs(repo).filter((row) => collection === undefined || row.collection === collection);
  if (choice.delete) {
    for (const row of rows) repo.refs.writeCollectionRef(row.collection, row.ref, undefined);
    return;
  }
  if (context.ui.json) {
    context.ui.resultJsonList(rows.map(({ collection: id, ref, checksum }) => ({ collection: id, ref, commit: checksum })));
    return;
  }
  const lines = rows.map((row): [string, Checksum] => [`(${row.collection}, ${row.ref})`, row.checksum]);
  for (const [line, checksum] of lines.sort(([a], [b]) => compareUtf8(a, b))) context.ui.result(choice.revision ? `${line}\t${checksum}` : line);
}

/** `COLLECTION/REF` does not exist in libostree: the collection is all up to the first colon. */
function parseCollectionRef(text: string): { collection: string; ref: string } {
  const colon = text.indexOf(':');
  if (colon <= 0) throw new OstreeFailure(`Invalid collection ref ${text}`);
  return { collection: text.slice(0, colon), ref: text.slice(colon + 1) };
}
