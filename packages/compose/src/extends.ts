/** Resolves `extends`. Source: compose-spec "extends"; compose-go `loader/extends.go`. */
import { isRecord } from '@cambium/base';
import { documentFault, type Scope, type Session } from './context.ts';
import { applyResets, enforceUnique, mergeModels } from './merge.ts';
import type { Mapping } from './types.ts';
import type { SourceDocument } from './yaml-source.ts';

/** A set of services that may extend each other: those of one file. */
export interface ExtendsSource {
  file: string;
  services: Mapping;
  document: SourceDocument;
}

/** Returns the services of another file, in long syntax and not yet extended. */
export type LoadServices = (file: string, from: { key: string; document: SourceDocument; path: readonly string[] }) => ExtendsSource;

interface Step {
  file: string;
  service: string;
}

/** Changes the services of a document in place: each has what it extends merged in. @throws COMPOSE_EXTENDS_MISSING, COMPOSE_EXTENDS_CYCLE */
export function applyExtends(source: ExtendsSource, scope: Scope, load: LoadServices): void {
  for (const name of Object.keys(source.services)) extendService(name, source, scope.session, load, []);
}

function extendService(name: string, source: ExtendsSource, session: Session, load: LoadServices, chain: readonly Step[]): unknown {
  const service = source.services[name];
  if (!isRecord(service) || service.extends === undefined || service.extends === null) return service;
  const wanted = service.extends as { service: string; file?: string };
  const path = ['services', name, 'extends'];
  if (chain.some((step) => step.file === source.file && step.service === name) || chain.length > 100) {
    const steps = [...chain, { file: source.file, service: name }].map((step) => `${step.service} in ${step.file}`);
    throw documentFault('COMPOSE_EXTENDS_CYCLE', source.document, path, `services extend each other: ${steps.join(' → ')}`, { data: { cycle: steps } });
  }
  const from =
    wanted.file === undefined || wanted.file === source.file
      ? source
      : load(wanted.file, { key: `services.${name}.extends.file`, document: source.document, path: [...path, 'file'] });
  if (!Object.hasOwn(from.services, wanted.service)) {
    throw documentFault(
      'COMPOSE_EXTENDS_MISSING',
      source.document,
      path,
      `service "${wanted.service}" not found in ${from.file}; it is extended by "${name}" in ${source.file}`,
      {
        data: { service: wanted.service, file: from.file },
      },
    );
  }
  const base = extendService(wanted.service, from, session, load, [...chain, { file: source.file, service: name }]);
  const copy = clone(base, session) as Mapping;
  applyResets({ services: { [name]: copy } }, source.document.resets);
  const { extends: _done, ...own } = service;
  const merged = mergeModels({ services: { [name]: copy } }, { services: { [name]: own } }, (at) =>
    documentFault('COMPOSE_MERGE_CONFLICT', source.document, at, `cannot override another kind of value of "${wanted.service}" in ${from.file}`),
  );
  const services = (enforceUnique(merged) as { services: Mapping }).services;
  source.services[name] = services[name];
  return services[name];
}

/** Copies a value and counts it: many services may extend one large one. */
export function clone(value: unknown, session: Session): unknown {
  session.spend(1 + (typeof value === 'string' ? value.length >> 6 : 0));
  if (Array.isArray(value)) return value.map((item) => clone(item, session));
  if (!isRecord(value)) return value;
  const copy: Mapping = {};
  for (const [key, item] of Object.entries(value)) copy[key] = clone(item, session);
  return copy;
}
