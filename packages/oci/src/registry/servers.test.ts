/** What the tests of TLS and proxies share: servers on loopback, and certificates that nobody vouches for. No tests. */
import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import { join } from 'node:path';
import { type CleanUp, closeServer, listenOnLoopback, run, scratch } from '@cambium/testkit';

/** An index of no images: enough to see that a registry answered. */
export const INDEX: string = JSON.stringify({ schemaVersion: 2, manifests: [] });

/** Starts a server for the time of the test and returns its port. */
export async function serving(t: CleanUp, server: Server | TlsServer): Promise<number> {
  t.after(() => closeServer(server));
  return await listenOnLoopback(server);
}

/** Makes a self-signed certificate for names and addresses as openssl writes them: `DNS:example.com`, `IP:127.0.0.1`. Needs openssl. */
export async function selfSigned(t: CleanUp, ...names: readonly string[]): Promise<{ key: string; cert: string }> {
  const directory = scratch(t);
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  await run('openssl', ['req', ...kind, '-keyout', key, '-out', cert, '-subj', '/CN=x', '-addext', `subjectAltName=${names.join(',')}`]);
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
}
