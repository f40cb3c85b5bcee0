/** Checks that a merged model makes sense. Source: compose-spec schema; compose-go `loader/validate.go`. */
import { isRecord } from '@cambium/base';
import type { Session } from './context.ts';
import { type ComposeErrorCode, composeError, faultAt } from './errors.ts';
import { type Path, pathText } from './path.ts';
import type { Mapping, Model } from './types.ts';

const TOP_LEVEL_KEYS = ['version', 'name', 'include', 'services', 'models', 'networks', 'volumes', 'secrets', 'configs'];

const SERVICE_KEYS: ReadonlySet<string> = new Set(
  (
    'annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name cpu_count cpu_percent cpu_period cpu_quota ' +
    'cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset credential_spec depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search ' +
    'domainname entrypoint env_file environment expose extends external_links extra_hosts gpus group_add healthcheck hostname image init ipc isolation ' +
    'label_file labels links logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit models network_mode networks oom_kill_disable ' +
    'oom_score_adj pid pids_limit platform ports post_start pre_start pre_stop privileged profiles provider pull_policy pull_refresh_after read_only restart ' +
    'runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits use_api_socket user ' +
    'userns_mode uts volume_driver volumes volumes_from working_dir'
  ).split(' '),
);

/** Checks the keys of one document. @throws COMPOSE_KEY_UNKNOWN */
export function checkTopLevel(value: Mapping, session: Session, file: string): void {
  for (const key of Object.keys(value)) {
    if (key.startsWith('x-')) continue;
    if (key === 'version') session.warn({ code: 'OBSOLETE_KEY', message: 'The key "version" is obsolete and ignored', position: { file } });
    if (TOP_LEVEL_KEYS.includes(key)) continue;
    const near = nearest(key, TOP_LEVEL_KEYS);
    throw faultAt('COMPOSE_KEY_UNKNOWN', session.position([key]) ?? { file }, `Cannot load compose file: unknown top-level key "${key}"`, {
      data: { key },
      hint: near === undefined ? 'Services go under "services:"; keys of your own start with "x-"' : `Did you mean "${near}"?`,
    });
  }
}

/** @throws COMPOSE_SERVICES_MISSING, COMPOSE_IMAGE_MISSING, COMPOSE_MODEL_INVALID, COMPOSE_REFERENCE_UNDEFINED, COMPOSE_DEPENDENCY_CYCLE */
export function validateModel(model: Model, disabled: ReadonlySet<string>, session: Session, lenient: boolean): void {
  const fault = (code: ComposeErrorCode, path: Path, reason: string, hint?: string): Error =>
    faultAt(code, session.position(path), `Cannot load ${pathText(path)}: ${reason}`, {
      data: { path: pathText(path) },
      ...(hint === undefined ? {} : { hint }),
    });
  const names = Object.keys(model.services);
  if (names.length + disabled.size === 0) throw composeError('COMPOSE_SERVICES_MISSING', 'Cannot load project: it has no services');
  for (const name of names) {
    const service = model.services[name] as Mapping;
    const path = ['services', name];
    for (const key of Object.keys(service)) {
      if (SERVICE_KEYS.has(key) || key.startsWith('x-')) continue;
      const near = nearest(key, [...SERVICE_KEYS]);
      const position = session.position([...path, key]);
      session.warn({
        code: 'UNKNOWN_KEY',
        message: `Service "${name}" has an unknown key "${key}"${near === undefined ? '' : `; did you mean "${near}"?`}`,
        ...(position === undefined ? {} : { position }),
      });
    }
    if ((service.image === undefined || service.image === null || service.image === '') && !isRecord(service.build) && !isRecord(service.provider)) {
      throw fault('COMPOSE_IMAGE_MISSING', path, 'the service has neither an image nor a build');
    }
    if (!lenient) checkReferences(name, service, model, disabled, fault);
  }
  for (const section of ['configs', 'secrets'] as const) {
    for (const [name, value] of Object.entries((model[section] ?? {}) as Record<string, unknown>)) {
      if (name.startsWith('x-')) continue;
      const resource = isRecord(value) ? value : {};
      if (resource.external === true || resource.external === 'true' || lenient) continue;
      const sources = ['file', 'environment', 'content', 'driver', 'template_driver'].filter((key) => resource[key] !== undefined && resource[key] !== null);
      if (sources.length === 0) throw fault('COMPOSE_MODEL_INVALID', [section, name], 'needs "file", "environment" or "content", or "external: true"');
    }
  }
  if (!lenient) checkCycles(model, fault);
}

type Fault = (code: ComposeErrorCode, path: Path, reason: string, hint?: string) => Error;

function checkReferences(name: string, service: Mapping, model: Model, disabled: ReadonlySet<string>, fault: Fault): void {
  const path: Path = ['services', name];
  const defined = (section: string, key: string): boolean => isRecord(model[section]) && Object.hasOwn(model[section], key);
  const undefinedName = (section: string, kind: string, key: string, at: Path): void => {
    if (!defined(section, key)) throw fault('COMPOSE_REFERENCE_UNDEFINED', at, `${kind} "${key}" is not defined`, `Add it under "${section}:"`);
  };
  const serviceName = (target: string, at: Path): void => {
    if (Object.hasOwn(model.services, target)) return;
    if (disabled.has(target))
      throw fault('COMPOSE_REFERENCE_UNDEFINED', at, `service "${target}" is in a profile that is not active`, 'Activate one of its profiles too');
    throw fault('COMPOSE_REFERENCE_UNDEFINED', at, `service "${target}" is not defined`);
  };
  if (isRecord(service.networks) && Object.keys(service.networks).length > 0) {
    if (service.network_mode !== undefined && service.network_mode !== null)
      throw fault('COMPOSE_MODEL_INVALID', path, 'network_mode and networks exclude each other');
    for (const key of Object.keys(service.networks)) if (key !== 'default') undefinedName('networks', 'network', key, [...path, 'networks', key]);
  }
  const mounts = new Map<string, string>();
  const mounted = (target: unknown, at: Path): void => {
    if (typeof target !== 'string') return;
    const before = mounts.get(target);
    if (before !== undefined) throw fault('COMPOSE_MODEL_INVALID', at, `"${target}" is mounted twice, also by ${before}`);
    mounts.set(target, pathText(at));
  };
  for (const [i, entry] of listOf(service.tmpfs).entries()) mounted(String(entry).split(':', 1)[0], [...path, 'tmpfs', i]);
  listOf(service.volumes).forEach((entry, i) => {
    const at = [...path, 'volumes', i];
    if (!isRecord(entry)) return;
    mounted(entry.target, at);
    if (entry.type === 'volume' && typeof entry.source === 'string' && entry.source !== '') undefinedName('volumes', 'volume', entry.source, at);
  });
  for (const section of ['configs', 'secrets'] as const) {
    listOf(service[section]).forEach((entry, i) => {
      if (isRecord(entry)) undefinedName(section, section.slice(0, -1), String(entry.source), [...path, section, i]);
    });
  }
  for (const [target, condition] of Object.entries(isRecord(service.depends_on) ? service.depends_on : {})) {
    if (isRecord(condition) && condition.required === false) continue;
    serviceName(target, [...path, 'depends_on', target]);
  }
  for (const key of ['network_mode', 'ipc', 'pid'] as const) {
    const value = service[key];
    if (typeof value === 'string' && value.startsWith('service:')) serviceName(value.slice('service:'.length), [...path, key]);
  }
  for (const [i, entry] of listOf(service.links).entries()) serviceName(String(entry).split(':', 1)[0] as string, [...path, 'links', i]);
  listOf(service.volumes_from).forEach((entry, i) => {
    const text = String(entry);
    if (!text.startsWith('container:')) serviceName(text.split(':', 1)[0] as string, [...path, 'volumes_from', i]);
  });
  if (isRecord(service.healthcheck)) {
    const test = listOf(service.healthcheck.test);
    if (test.length > 0 && !['CMD', 'CMD-SHELL', 'NONE'].includes(String(test[0]))) {
      throw fault('COMPOSE_MODEL_INVALID', [...path, 'healthcheck', 'test'], 'must start with "CMD", "CMD-SHELL" or "NONE"');
    }
  }
}

/** Names of the services that `service` waits for. */
export function dependencies(service: Mapping): string[] {
  const names = new Set(Object.keys(isRecord(service.depends_on) ? service.depends_on : {}));
  for (const link of listOf(service.links)) names.add(String(link).split(':', 1)[0] as string);
  for (const key of ['network_mode', 'ipc', 'pid', 'uts', 'cgroup']) {
    const value = service[key];
    if (typeof value === 'string' && value.startsWith('service:')) names.add(value.slice('service:'.length));
  }
  for (const entry of listOf(service.volumes_from)) if (!String(entry).startsWith('container:')) names.add(String(entry).split(':', 1)[0] as string);
  return [...names];
}

function checkCycles(model: Model, fault: Fault): void {
  const state = new Map<string, 'open' | 'done'>();
  for (const start of Object.keys(model.services)) {
    // By hand and not by recursion: a chain may be as long as there are services.
    const stack: { name: string; next: string[] }[] = [];
    const enter = (name: string): void => {
      state.set(name, 'open');
      stack.push({ name, next: dependencies(model.services[name] as Mapping).filter((other) => Object.hasOwn(model.services, other)) });
    };
    if (!state.has(start)) enter(start);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const next = top.next.pop();
      if (next === undefined) {
        state.set(top.name, 'done');
        stack.pop();
      } else if (state.get(next) === 'open') {
        const cycle = [...stack.slice(stack.findIndex((step) => step.name === next)).map((step) => step.name), next];
        throw fault('COMPOSE_DEPENDENCY_CYCLE', ['services', top.name], `services depend on each other: ${cycle.join(' → ')}`);
      } else if (!state.has(next)) enter(next);
    }
  }
}

export function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Returns the known word one or two letters away, for "did you mean". */
function nearest(word: string, known: readonly string[]): string | undefined {
  if (word.length > 40) return undefined;
  let best: string | undefined;
  let bestDistance = 3;
  for (const candidate of known) {
    const distance = editDistance(word, candidate);
    if (distance < bestDistance && distance < candidate.length / 2) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min((next[j - 1] as number) + 1, (row[j] as number) + 1, (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length] as number;
}
