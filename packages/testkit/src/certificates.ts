/** Certificates for servers and clients of one test, made by openssl. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './run.ts';

/** A certificate and its key, as PEM text and as the files they are in. */
export interface TestCertificate {
  cert: string;
  key: string;
  certPath: string;
  keyPath: string;
}

export interface TestCertificates {
  /** The authority that signed the other two. */
  authority: TestCertificate;
  /** For 127.0.0.1, localhost, and the names that were asked for. */
  server: TestCertificate;
  client: TestCertificate;
}

/** Makes an authority with a server's and a client's certificate. Needs the peer `openssl` (3.0 or newer). */
export async function testCertificates(directory: string, names: readonly string[] = []): Promise<TestCertificates> {
  const make = async (name: string, more: readonly string[]): Promise<TestCertificate> => {
    const [certPath, keyPath] = [join(directory, `${name}.pem`), join(directory, `${name}.key`)];
    const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
    await run('openssl', ['req', ...kind, '-subj', `/CN=test ${name}`, '-keyout', keyPath, '-out', certPath, ...more]);
    return { cert: readFileSync(certPath, 'utf8'), key: readFileSync(keyPath, 'utf8'), certPath, keyPath };
  };
  const authority = await make('authority', []);
  const signed = ['-CA', authority.certPath, '-CAkey', authority.keyPath, '-addext', 'basicConstraints=critical,CA:FALSE'];
  const subjects = ['IP:127.0.0.1', ...['localhost', ...names].map((name) => `DNS:${name}`)].join(',');
  return {
    authority,
    server: await make('server', [...signed, '-addext', `subjectAltName=${subjects}`]),
    client: await make('client', [...signed, '-addext', 'extendedKeyUsage=clientAuth']),
  };
}
