/** What a registry can be told about who asks. */

export interface Credentials {
  /** Where they come from, for messages: a file's path or a helper's name. */
  source: string;
  username?: string;
  password?: string;
  /** A refresh token for the token server, instead of a password. */
  identityToken?: string;
  /** A bearer token to use as it is. */
  registryToken?: string;
}

/** Finds credentials for a repository of a registry (`docker.io`, not Docker's API host); undefined when there are none. */
export type CredentialSource = (registry: string, repositoryName: string, signal?: AbortSignal) => Promise<Credentials | undefined>;
