/** Profiles. Source: compose-spec "Profiles". */
import { isRecord } from '@cambium/base';
import type { Mapping } from './types.ts';

/** Returns whether a service takes part when `active` profiles are given; `*` activates all. */
export function isActive(service: Mapping, active: readonly string[]): boolean {
  const own = Array.isArray(service.profiles) ? service.profiles : [];
  return own.length === 0 || active.includes('*') || own.some((name) => active.includes(String(name)));
}

/** Returns all profiles that services name, sorted. */
export function profileNames(services: Readonly<Record<string, unknown>>): string[] {
  const names = new Set<string>();
  for (const service of Object.values(services)) {
    if (isRecord(service) && Array.isArray(service.profiles)) for (const name of service.profiles) names.add(String(name));
  }
  return [...names].sort();
}
