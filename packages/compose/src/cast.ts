/** Interpolates a document and casts the fields that are numbers or booleans. Source: compose-go `loader/interpolate.go`. */
import { isKnownError, isRecord } from '@cambium/base';
import { documentFault, type Scope } from './context.ts';
import type { ComposeErrorCode } from './errors.ts';
import { interpolate, lookupIn } from './interpolate.ts';
import { type Path, PathTable, pathText } from './path.ts';
import type { SourceDocument } from './yaml-source.ts';

type Kind = 'integer' | 'number' | 'boolean';

const CASTS = new PathTable<Kind>({
  'services.*.cpu_count': 'integer',
  'services.*.cpu_percent': 'number',
  'services.*.cpu_period': 'integer',
  'services.*.cpu_quota': 'integer',
  'services.*.cpu_rt_period': 'integer',
  'services.*.cpu_rt_runtime': 'integer',
  'services.*.cpus': 'number',
  'services.*.cpu_shares': 'integer',
  'services.*.init': 'boolean',
  'services.*.depends_on.*.required': 'boolean',
  'services.*.depends_on.*.restart': 'boolean',
  'services.*.deploy.replicas': 'integer',
  'services.*.deploy.update_config.parallelism': 'integer',
  'services.*.deploy.update_config.max_failure_ratio': 'number',
  'services.*.deploy.rollback_config.parallelism': 'integer',
  'services.*.deploy.rollback_config.max_failure_ratio': 'number',
  'services.*.deploy.resources.limits.cpus': 'number',
  'services.*.deploy.resources.limits.pids': 'integer',
  'services.*.deploy.resources.reservations.cpus': 'number',
  'services.*.deploy.restart_policy.max_attempts': 'integer',
  'services.*.deploy.placement.max_replicas_per_node': 'integer',
  'services.*.env_file.*.required': 'boolean',
  'services.*.healthcheck.retries': 'integer',
  'services.*.healthcheck.disable': 'boolean',
  'services.*.oom_kill_disable': 'boolean',
  'services.*.oom_score_adj': 'integer',
  'services.*.pids_limit': 'integer',
  'services.*.ports.*.target': 'integer',
  'services.*.privileged': 'boolean',
  'services.*.read_only': 'boolean',
  'services.*.scale': 'integer',
  'services.*.stdin_open': 'boolean',
  'services.*.tty': 'boolean',
  'services.*.ulimits.*': 'integer',
  'services.*.ulimits.*.hard': 'integer',
  'services.*.ulimits.*.soft': 'integer',
  'services.*.volumes.*.read_only': 'boolean',
  'services.*.volumes.*.bind.create_host_path': 'boolean',
  'services.*.volumes.*.volume.nocopy': 'boolean',
  'networks.*.external': 'boolean',
  'networks.*.internal': 'boolean',
  'networks.*.attachable': 'boolean',
  'networks.*.enable_ipv4': 'boolean',
  'networks.*.enable_ipv6': 'boolean',
  'volumes.*.external': 'boolean',
  'secrets.*.external': 'boolean',
  'configs.*.external': 'boolean',
});

/** Changes a document's value in place. Keys are not interpolated. @throws COMPOSE_TEMPLATE_INVALID, COMPOSE_VARIABLE_REQUIRED, COMPOSE_VALUE_INVALID */
export function interpolateDocument(document: SourceDocument, scope: Scope): void {
  const variable = lookupIn(scope.environment);
  const walk = (value: unknown, path: Path): unknown => {
    if (typeof value === 'string') return scalar(value, path);
    if (Array.isArray(value)) for (let i = 0; i < value.length; i++) value[i] = walk(value[i], [...path, i]);
    else if (isRecord(value)) for (const key of Object.keys(value)) value[key] = walk(value[key], [...path, key]);
    return value;
  };
  const scalar = (text: string, path: Path): unknown => {
    let result = text;
    const isImage = path.length === 3 && path[0] === 'services' && path[2] === 'image';
    const lookup = (name: string): string | undefined => {
      const value = variable(name);
      if (value !== undefined && !isImage) scope.session.variables.add(name);
      return value;
    };
    try {
      result = interpolate(text, lookup, {
        onUnset: (name) => {
          const { depth: _depth, ...position } = document.position(path);
          scope.session.warn({ code: 'UNSET_VARIABLE', message: `The variable "${name}" is not set: it is replaced by nothing`, position });
        },
      });
    } catch (error) {
      if (!isKnownError(error)) throw error;
      throw documentFault(error.code as ComposeErrorCode, document, path, error.message, {
        cause: error,
        data: error.data,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      });
    }
    scope.session.spend(result.length >> 6);
    const kind = CASTS.get(path);
    return kind === undefined ? result : cast(result, kind, document, path, scope);
  };
  document.value = walk(document.value, []);
}

function cast(text: string, kind: Kind, document: SourceDocument, path: Path, scope: Scope): unknown {
  const bad = (): Error =>
    documentFault('COMPOSE_VALUE_INVALID', document, path, `"${text.slice(0, 80)}" is not ${kind === 'integer' ? 'an integer' : `a ${kind}`}`);
  if (kind === 'boolean') {
    switch (text.toLowerCase()) {
      case 'true':
        return true;
      case 'false':
        return false;
      case 'y':
      case 'yes':
      case 'on':
      case 'n':
      case 'no':
      case 'off': {
        const { depth: _depth, ...position } = document.position(path);
        scope.session.warn({ code: 'YAML_BOOLEAN', message: `${pathText(path)}: write "true" or "false" instead of "${text}"`, position });
        return /^(?:y|yes|on)$/i.test(text);
      }
      default:
        throw bad();
    }
  }
  const pattern = kind === 'integer' ? /^[-+]?[0-9]+$/ : /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/;
  if (!pattern.test(text)) throw bad();
  const number = Number(text);
  if (kind === 'integer' ? !Number.isSafeInteger(number) : !Number.isFinite(number)) throw bad();
  return number;
}
