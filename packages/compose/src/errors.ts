/** The codes of this package; documented in `docs/errors.md`. Add a row where a new failure is known. */
import { defineErrors, type ErrorDetails, type ErrorFactory, type KnownError } from '@cambium/base';

export type ComposeErrorCode =
  | 'COMPOSE_FILE_NOT_FOUND'
  | 'COMPOSE_FILE_MISSING'
  | 'COMPOSE_FILE_TOO_LARGE'
  | 'COMPOSE_FILE_INVALID'
  | 'COMPOSE_YAML_INVALID'
  | 'COMPOSE_YAML_DUPLICATE_KEY'
  | 'COMPOSE_TOO_COMPLEX'
  | 'COMPOSE_TEMPLATE_INVALID'
  | 'COMPOSE_VARIABLE_REQUIRED'
  | 'COMPOSE_ENV_FILE_INVALID'
  | 'COMPOSE_PROJECT_NAME_INVALID'
  | 'COMPOSE_MODEL_INVALID'
  | 'COMPOSE_KEY_UNKNOWN'
  | 'COMPOSE_VALUE_INVALID'
  | 'COMPOSE_MERGE_CONFLICT'
  | 'COMPOSE_SERVICES_MISSING'
  | 'COMPOSE_IMAGE_MISSING'
  | 'COMPOSE_REFERENCE_UNDEFINED'
  | 'COMPOSE_DEPENDENCY_CYCLE'
  | 'COMPOSE_EXTENDS_CYCLE'
  | 'COMPOSE_EXTENDS_MISSING'
  | 'COMPOSE_INCLUDE_CYCLE'
  | 'COMPOSE_REMOTE_UNSUPPORTED'
  | 'COMPOSE_PIN_NOT_IN_PLACE'
  | 'COMPOSE_PATH_OUTSIDE'
  | 'COMPOSE_IGNORE_FILE_INVALID'
  | 'COMPOSE_BUILD_ONLY'
  | 'COMPOSE_APP_NAME_INVALID'
  | 'COMPOSE_IMAGE_SOURCE_UNUSED'
  | 'COMPOSE_IMAGE_MISMATCH';

export const composeError: ErrorFactory<ComposeErrorCode> = defineErrors<ComposeErrorCode>({
  COMPOSE_FILE_NOT_FOUND: { kind: 'not-found', meaning: 'No compose file was found, or one that was asked for by name does not exist.' },
  COMPOSE_FILE_MISSING: { kind: 'not-found', meaning: 'A file that the compose model refers to does not exist.' },
  COMPOSE_FILE_TOO_LARGE: { kind: 'input', meaning: 'A compose file, env file or ignore file is larger than the limit for its kind.' },
  COMPOSE_FILE_INVALID: { kind: 'input', meaning: 'A file is not a regular file, or not UTF-8 text.' },
  COMPOSE_YAML_INVALID: { kind: 'input', meaning: 'A compose file is not valid YAML.' },
  COMPOSE_YAML_DUPLICATE_KEY: { kind: 'input', meaning: 'A mapping of a compose file has the same key twice.' },
  COMPOSE_TOO_COMPLEX: { kind: 'input', meaning: 'Aliases, nesting, includes or variables of a compose project expand beyond the limit.' },
  COMPOSE_TEMPLATE_INVALID: { kind: 'input', meaning: 'A value has a "$" that starts no valid variable reference.' },
  COMPOSE_VARIABLE_REQUIRED: { kind: 'input', meaning: 'A variable that a value requires with "?" is not set.' },
  COMPOSE_ENV_FILE_INVALID: { kind: 'input', meaning: 'A line of an env file cannot be parsed.' },
  COMPOSE_PROJECT_NAME_INVALID: { kind: 'input', meaning: 'A project name is empty or has characters that are not allowed.' },
  COMPOSE_MODEL_INVALID: { kind: 'input', meaning: 'A part of a compose file does not have the shape its key requires.' },
  COMPOSE_KEY_UNKNOWN: { kind: 'input', meaning: 'A compose file has a top-level key that is not known and does not start with "x-".' },
  COMPOSE_VALUE_INVALID: { kind: 'input', meaning: 'A value of a compose file cannot be read as what its key holds (number, boolean, port, volume …).' },
  COMPOSE_MERGE_CONFLICT: { kind: 'input', meaning: 'An override gives a key another kind of value than the file it overrides.' },
  COMPOSE_SERVICES_MISSING: { kind: 'input', meaning: 'A compose project has no services.' },
  COMPOSE_IMAGE_MISSING: { kind: 'input', meaning: 'A service has neither an image nor a build.' },
  COMPOSE_REFERENCE_UNDEFINED: { kind: 'input', meaning: 'A service refers to a service, network, volume, config or secret that is not defined.' },
  COMPOSE_DEPENDENCY_CYCLE: { kind: 'input', meaning: 'Services depend on each other in a circle.' },
  COMPOSE_EXTENDS_CYCLE: { kind: 'input', meaning: 'Services extend each other in a circle.' },
  COMPOSE_EXTENDS_MISSING: { kind: 'input', meaning: 'A service extends a service that does not exist.' },
  COMPOSE_INCLUDE_CYCLE: { kind: 'input', meaning: 'Compose files include each other in a circle.' },
  COMPOSE_REMOTE_UNSUPPORTED: { kind: 'input', meaning: 'An include or extends names a remote resource; only local files are read.' },
  COMPOSE_PIN_NOT_IN_PLACE: { kind: 'input', meaning: 'Images cannot be pinned by changing image scalars alone; the resolved model must be written instead.' },
  COMPOSE_PATH_OUTSIDE: { kind: 'input', meaning: 'A compose project refers to a file outside its directory.' },
  COMPOSE_BUILD_ONLY: { kind: 'input', meaning: 'A service has a build and no image, so there is nothing to pack.' },
  COMPOSE_APP_NAME_INVALID: { kind: 'input', meaning: 'The project directory has a name that an app in a commit cannot have.' },
  COMPOSE_IMAGE_SOURCE_UNUSED: { kind: 'usage', meaning: 'A place was given for an image that the project does not have.' },
  COMPOSE_IMAGE_MISMATCH: { kind: 'integrity', meaning: 'An image read from another place does not have the digest that its reference states.' },
  COMPOSE_IGNORE_FILE_INVALID: { kind: 'input', meaning: 'A pattern of an ignore file is not valid.' },
});

/** A place in a source file; line and column count from 1. */
export interface Position {
  file: string;
  line?: number;
  column?: number;
}

export function positionText(at: Position): string {
  return at.line === undefined ? at.file : `${at.file}:${at.line}:${at.column ?? 1}`;
}

/** Returns an error whose message and data name the place, when it is known. */
export function faultAt(code: ComposeErrorCode, at: Position | undefined, message: string, details: ErrorDetails = {}): KnownError {
  if (at === undefined) return composeError(code, message, details);
  return composeError(code, `${message} (${positionText(at)})`, { ...details, data: { ...at, ...details.data } });
}
