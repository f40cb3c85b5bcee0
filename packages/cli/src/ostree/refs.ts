import { type Checksum, compareUtf8 } from '@cambium/base';
import type { Repo } from '@cambium/ostree';
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
  examples: [
    { command: 'cambium ostree refs --repo=./repo', explains: 'List all refs' },
    { command: 'cambium ostree refs --repo=./repo --create=apps/shop/stable apps/shop', explains: 'Give a commit another name' },
  ],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    if (operands.length >= 1) {
      for (const operand of operands) await act(repo, context, values, operand);
      return undefined;
    }
    if (values.create !== undefined) throw new OstreeFailure('You must specify a revision when creating a new ref');
    if (values.delete) throw new OstreeFailure('At least one PREFIX is required when deleting refs');
    await act(repo, context, values, undefined);
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

async function act(repo: Repo, context: VerbContext, choice: Choice, prefix: string | undefined): Promise<void> {
  if (choice.collections) return actOnCollections(repo, context, choice, prefix);
  if (choice.create !== undefined && prefix !== undefined) return create(repo, choice.create, prefix, choice);
  const aliases = repo.refs.aliases();
  if (choice.delete && prefix !== undefined) return remove(repo, aliases, prefix);
  if (choice.alias) {
    for (const [alias, ref] of aliases) if (prefix === undefined || alias === prefix || alias.startsWith(`${prefix}/`)) context.ui.result(`${alias} -> ${ref}`);
    return;
  }
  for (const [name, checksum] of repo.refs.list(prefix)) {
    const shown = choice.list || prefix === undefined ? name : withoutPrefix(name, prefix);
    context.ui.result(choice.revision ? `${shown}\t${checksum}` : shown);
  }
}

/** The ref that is the prefix itself keeps its name. */
function withoutPrefix(name: string, prefix: string): string {
  const directory = prefix.endsWith('/') || prefix.endsWith(':') ? prefix : `${prefix}/`;
  return name.startsWith(directory) ? name.slice(directory.length) : name;
}

function create(repo: Repo, name: string, target: string, choice: Choice): void {
  if (!choice.force && repo.refs.read(name) !== undefined) throw new OstreeFailure(`--create specified but ref ${name} already exists`);
  if (choice.alias) {
    repo.refs.writeAlias(name, target);
    return;
  }
  repo.refs.write(name, repo.refs.resolve(target));
}

function remove(repo: Repo, aliases: ReadonlyMap<string, string>, prefix: string): void {
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
    const present = repo.refs.collectionRefs().some((row) => row.collection === wanted.collection && row.ref === wanted.ref);
    if (present && !choice.force) throw new OstreeFailure(`--create specified but ref ${choice.create} already exists`);
    repo.refs.writeCollectionRef(wanted.collection, wanted.ref, repo.refs.resolve(collection));
    return;
  }
  const rows = repo.refs.collectionRefs().filter((row) => collection === undefined || row.collection === collection);
  if (choice.delete) {
    for (const row of rows) repo.refs.writeCollectionRef(row.collection, row.ref, undefined);
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
