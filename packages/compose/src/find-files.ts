/**
 * Finds the files of a project and the environment its variables are looked up in.
 *
 * Source: compose-go `cli/options.go`; the order in which Docker Compose applies it.
 */
import { statSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path/posix';
import { isKnownError } from '@cambium/base';
import { parseEnvFile } from './env-file.ts';
import { composeError } from './errors.ts';
import { lookupIn } from './interpolate.ts';
import { readText } from './source-file.ts';
import type { ComposeWarning } from './types.ts';

export const COMPOSE_FILE_NAMES: readonly string[] = ['compose.yaml', 'compose.yml', 'docker-compose.yml', 'docker-compose.yaml'];
export const OVERRIDE_FILE_NAMES: readonly string[] = [
  'compose.override.yml',
  'compose.override.yaml',
  'docker-compose.override.yml',
  'docker-compose.override.yaml',
];

export interface FindOptions {
  /** Compose files as given with `-f`; relative to the working directory; `-` is standard input. */
  files?: readonly string[] | undefined;
  /** Directory that relative paths start at; by default that of the first file. */
  projectDirectory?: string | undefined;
  /** Absolute; where the user stands. */
  workingDirectory: string;
  /** The environment: nothing is read from the process. */
  environment: Readonly<Record<string, string>>;
  /** Env files as given with `--env-file`; later ones win. Instead of `.env` of the project directory. */
  envFiles?: readonly string[] | undefined;
}

export interface FoundFiles {
  files: string[];
  directory: string;
  environment: Record<string, string>;
  /** Env files that were read. */
  envFiles: string[];
  warnings: ComposeWarning[];
}

/** @throws COMPOSE_FILE_NOT_FOUND, COMPOSE_ENV_FILE_INVALID, COMPOSE_VALUE_INVALID */
export function findFiles(options: FindOptions): FoundFiles {
  const warnings: ComposeWarning[] = [];
  const here = options.workingDirectory;
  const environment: Record<string, string> = { PWD: here, ...options.environment };
  const readEnvFiles: string[] = [];
  const named = (files: readonly string[]): string[] => files.map((file) => (file === '-' ? file : resolve(here, file)));

  let files = options.files === undefined || options.files.length === 0 ? undefined : named(options.files);
  const directoryOf = (candidates: readonly string[] | undefined): string => {
    if (options.projectDirectory !== undefined) return resolve(here, options.projectDirectory);
    const first = candidates?.find((file) => file !== '-');
    return first === undefined ? here : dirname(first);
  };
  const envFiles = explicitEnvFiles(options, environment);
  const applyEnvFiles = (directory: string): void => {
    const candidates = envFiles ?? (envFilesDisabled(environment) ? [] : [join(directory, '.env')].filter(isFile));
    const fresh = candidates.filter((file) => !readEnvFiles.includes(file));
    const added = readEnvFileVariables(fresh, environment, warnings);
    for (const [name, value] of Object.entries(added)) if (!Object.hasOwn(environment, name)) environment[name] = value;
    readEnvFiles.push(...fresh);
  };

  // The first .env may name the files (COMPOSE_FILE); the project directory they give may have another .env.
  applyEnvFiles(directoryOf(files));
  files ??= filesFromEnvironment(environment, here);
  files ??= defaultFiles(directoryOf(undefined), warnings);
  const directory = directoryOf(files);
  applyEnvFiles(directory);
  for (const file of files) {
    if (file !== '-' && !exists(file)) throw composeError('COMPOSE_FILE_NOT_FOUND', `Cannot open compose file "${file}": no such file`, { data: { file } });
  }
  return { files, directory, environment, envFiles: readEnvFiles, warnings };
}

/** Returns the active profiles that `COMPOSE_PROFILES` names. */
export function profilesFromEnvironment(environment: Readonly<Record<string, string>>): string[] {
  const text = Object.hasOwn(environment, 'COMPOSE_PROFILES') ? (environment.COMPOSE_PROFILES ?? '') : '';
  return text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

/** Returns the variables of env files; later files win. A value may use the environment and what stands before it. */
export function readEnvFileVariables(
  paths: readonly string[],
  environment: Readonly<Record<string, string>>,
  warnings: ComposeWarning[],
): Record<string, string> {
  const result: Record<string, string> = {};
  const outer = lookupIn(environment);
  for (const path of paths) {
    const variables = parseEnvFile(readText(path), {
      file: path,
      lookup: (name) => outer(name) ?? lookupIn(result)(name),
      onUnset: (name) =>
        warnings.push({ code: 'UNSET_VARIABLE', message: `The variable "${name}" is not set: it is replaced by nothing`, position: { file: path } }),
    });
    for (const [name, value] of variables) if (name !== '__proto__') result[name] = value;
  }
  return result;
}

function explicitEnvFiles(options: FindOptions, environment: Readonly<Record<string, string>>): string[] | undefined {
  const absolute = (file: string): string => (isAbsolute(file) ? file : resolve(options.workingDirectory, file));
  if (options.envFiles !== undefined && options.envFiles.length > 0) return options.envFiles.map(absolute);
  const listed = Object.hasOwn(environment, 'COMPOSE_ENV_FILES') ? (environment.COMPOSE_ENV_FILES ?? '') : '';
  return listed === '' ? undefined : listed.split(',').map((file) => absolute(file.trim()));
}

function envFilesDisabled(environment: Readonly<Record<string, string>>): boolean {
  if (!Object.hasOwn(environment, 'COMPOSE_DISABLE_ENV_FILE')) return false;
  const value = environment.COMPOSE_DISABLE_ENV_FILE ?? '';
  if (/^(?:1|t|true)$/i.test(value)) return true;
  if (/^(?:0|f|false)$/i.test(value)) return false;
  throw composeError('COMPOSE_VALUE_INVALID', `Cannot read COMPOSE_DISABLE_ENV_FILE: "${value.slice(0, 80)}" is not a boolean`);
}

function filesFromEnvironment(environment: Readonly<Record<string, string>>, here: string): string[] | undefined {
  const value = Object.hasOwn(environment, 'COMPOSE_FILE') ? environment.COMPOSE_FILE : undefined;
  if (value === undefined || value === '') return undefined;
  const given = Object.hasOwn(environment, 'COMPOSE_PATH_SEPARATOR') ? environment.COMPOSE_PATH_SEPARATOR : undefined;
  const separator = given === undefined || given === '' ? ':' : given;
  return value.split(separator).map((file) => (file === '-' ? file : resolve(here, file)));
}

function defaultFiles(start: string, warnings: ComposeWarning[]): string[] {
  for (let directory = start; ; directory = dirname(directory)) {
    const main = COMPOSE_FILE_NAMES.map((name) => join(directory, name)).filter(exists);
    if (main[0] !== undefined) {
      const overrides = OVERRIDE_FILE_NAMES.map((name) => join(directory, name)).filter(exists);
      for (const found of [main, overrides]) {
        if (found.length > 1) {
          const names = found.map((file) => basename(file)).join(', ');
          warnings.push({ code: 'SEVERAL_FILES', message: `Found several files with default names: ${names}; using ${basename(found[0] as string)}` });
        }
      }
      return overrides[0] === undefined ? [main[0]] : [main[0], overrides[0]];
    }
    if (dirname(directory) === directory) {
      throw composeError('COMPOSE_FILE_NOT_FOUND', `Cannot find a compose file in "${start}" or above`, {
        hint: `Name one with -f, or call it ${COMPOSE_FILE_NAMES[0]}`,
        data: { directory: start },
      });
    }
  }
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

function isFile(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
  } catch (error) {
    if (isKnownError(error)) throw error;
    return false; // not a directory on the way, or not allowed: no .env then
  }
}
