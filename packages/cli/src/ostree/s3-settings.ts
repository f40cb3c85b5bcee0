/**
 * Which keys, region and endpoint a bucket is used with: flags, then the environment, then a profile of the files that
 * Amazon's own tools read.
 *
 * Source: AWS CLI, "Configuration and credential file settings", "Environment variables".
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '@cambium/base';
import type { S3Options } from '@cambium/ostree';
import { type Environment, lookUp } from '../environment.ts';
import { cliError } from '../errors.ts';

export interface S3Flags {
  endpointUrl: string | undefined;
  region: string | undefined;
  profile: string | undefined;
  addressingStyle: string | undefined;
}

export type S3Settings = Pick<S3Options, 'credentials' | 'region' | 'endpoint' | 'addressing'> & {
  /** PEM file of authorities to trust beside the usual ones. */
  caFile: string | undefined;
};

const DEFAULT_REGION = 'us-east-1';
/** What profiles have in place of keys, and Amazon's tools make keys of. */
const OTHER_WAYS = ['credential_process', 'role_arn', 'sso_session', 'sso_start_url', 'web_identity_token_file'];

/** @throws CLI_CREDENTIALS_MISSING CLI_OPTION_VALUE_INVALID */
export function readS3Settings(flags: S3Flags, environment: Environment): S3Settings {
  const named = flags.profile ?? lookUp(environment, ['AWS_PROFILE', 'AWS_DEFAULT_PROFILE']);
  const profile = readProfile(named ?? 'default', environment);
  if (named !== undefined && named !== 'default' && profile === undefined)
    throw cliError('CLI_CREDENTIALS_MISSING', `There is no profile "${named}" in ~/.aws/credentials or ~/.aws/config`, { data: { profile: named } });
  const endpoint = flags.endpointUrl ?? lookUp(environment, ['AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL']) ?? profile?.get('endpoint_url');
  if (endpoint !== undefined && !URL.canParse(endpoint))
    throw cliError('CLI_OPTION_VALUE_INVALID', `Cannot use ${JSON.stringify(endpoint)} as an endpoint: it is no URL`);
  const style = flags.addressingStyle ?? profile?.get('s3.addressing_style') ?? 'auto';
  if (style !== 'auto' && style !== 'path' && style !== 'virtual')
    throw cliError('CLI_OPTION_VALUE_INVALID', `Cannot use ${JSON.stringify(style)} as an addressing style: auto, path or virtual`);
  return {
    credentials: credentialsOf(profile, flags.profile !== undefined, named ?? 'default', environment),
    region: flags.region ?? lookUp(environment, ['AWS_REGION', 'AWS_DEFAULT_REGION']) ?? profile?.get('region') ?? DEFAULT_REGION,
    ...(endpoint === undefined ? {} : { endpoint: new URL(endpoint) }),
    ...(style === 'auto' ? {} : { addressing: style }),
    caFile: lookUp(environment, ['AWS_CA_BUNDLE']) ?? profile?.get('ca_bundle'),
  };
}

/** A profile named by a flag goes before keys in the environment, as with Amazon's tools. */
function credentialsOf(profile: Profile | undefined, profileFirst: boolean, name: string, environment: Environment): S3Settings['credentials'] {
  const fromEnvironment = {
    accessKeyId: lookUp(environment, ['AWS_ACCESS_KEY_ID']),
    secretAccessKey: lookUp(environment, ['AWS_SECRET_ACCESS_KEY']),
    sessionToken: lookUp(environment, ['AWS_SESSION_TOKEN', 'AWS_SECURITY_TOKEN']),
  };
  const fromProfile = {
    accessKeyId: profile?.get('aws_access_key_id'),
    secretAccessKey: profile?.get('aws_secret_access_key'),
    sessionToken: profile?.get('aws_session_token'),
  };
  for (const { accessKeyId, secretAccessKey, sessionToken } of profileFirst ? [fromProfile] : [fromEnvironment, fromProfile]) {
    if (accessKeyId !== undefined && secretAccessKey !== undefined) return { accessKeyId, secretAccessKey, sessionToken };
  }
  const other = OTHER_WAYS.find((key) => profile?.get(key) !== undefined);
  if (other !== undefined) {
    // The whole of it in the message: `cambium ostree` says no hints, as libostree.
    throw cliError(
      'CLI_CREDENTIALS_MISSING',
      `Cannot make keys of ${other} in the profile "${name}"; Amazon's command can: eval "$(aws configure export-credentials --profile ${name} --format env)"`,
    );
  }
  throw cliError('CLI_CREDENTIALS_MISSING', 'There are no keys for the bucket: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile');
}

type Profile = ReadonlyMap<string, string>;

/** What `~/.aws/credentials` says goes before `~/.aws/config`. */
function readProfile(name: string, environment: Environment): Profile | undefined {
  const folder = join(environment.home, '.aws');
  const credentials = readSection(lookUp(environment, ['AWS_SHARED_CREDENTIALS_FILE']) ?? join(folder, 'credentials'), [name]);
  const config = readSection(
    lookUp(environment, ['AWS_CONFIG_FILE']) ?? join(folder, 'config'),
    name === 'default' ? ['default', 'profile default'] : [`profile ${name}`],
  );
  return credentials === undefined && config === undefined ? undefined : new Map([...(config ?? []), ...(credentials ?? [])]);
}

/** Returns the values of a section; those that stand indented below a key are `KEY.NAME`. */
function readSection(path: string, names: readonly string[]): Map<string, string> | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
  let found: Map<string, string> | undefined;
  let isWanted = false;
  let parent = '';
  for (const line of text.split(/\r?\n/)) {
    if (line.trim() === '' || /^\s*[#;]/.test(line)) continue;
    const section = /^\s*\[\s*(.*?)\s*\]/.exec(line)?.[1]?.replaceAll(/\s+/g, ' ').replaceAll(/["']/g, '');
    if (section !== undefined) {
      isWanted = names.includes(section);
      if (isWanted) found ??= new Map();
      parent = '';
      continue;
    }
    const [, indent, key, value] = /^(\s*)([^=\s]+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (!isWanted || key === undefined || value === undefined) continue;
    if (indent === '') parent = key;
    if (value !== '') found?.set(indent === '' ? key : `${parent}.${key}`, value);
  }
  return found;
}
