import { readFileSync } from 'node:fs';
import { type ServerEvent, startRepoServer } from '@cambium/server';
import { UsageError, type Verb } from './verb.ts';

const DEFAULT_PORT = 8080;

const flags = {
  host: { kind: 'text', value: 'ADDRESS', help: 'Address to listen on (default: 127.0.0.1, this machine only; 0.0.0.0 or :: for all)' },
  port: { kind: 'int', short: 'P', value: 'PORT', help: 'Port to listen on (default: 8080); 0 takes any that is free' },
  'tls-cert': { kind: 'text', value: 'FILE', completes: 'file', help: 'Serve HTTPS (HTTP/2 and HTTP/1.1) with this certificate and its chain, in PEM' },
  'tls-key': { kind: 'text', value: 'FILE', completes: 'file', help: 'The private key of the certificate, in PEM' },
} as const;

/** A verb that libostree does not have (it has `ostree trivial-httpd`, for its own tests). */
export const command: Verb<typeof flags> = {
  summary: 'Serve the repository over HTTP to those who pull from it',
  description: ['Prints the URL for "ostree remote add", and serves until it gets SIGINT or SIGTERM. With --verbose every request is a line on stderr.'],
  operands: [],
  flags,
  beyond: true,
  examples: [
    { command: 'cambium ostree serve --repo=./repo', explains: 'Serve to programs on this machine' },
    {
      command: 'cambium ostree serve --repo=./repo --host=0.0.0.0 --port=8443 --tls-cert=cert.pem --tls-key=key.pem',
      explains: 'Serve to all over HTTPS',
    },
  ],
  async run(context, { values }) {
    const { ui, signal } = context;
    const { host, port = DEFAULT_PORT, 'tls-cert': certPath, 'tls-key': keyPath } = values;
    if (port < 0 || port > 65_535) throw new UsageError(`Invalid port ${port}`);
    if ((certPath === undefined) !== (keyPath === undefined)) throw new UsageError('--tls-cert and --tls-key must be given together');
    const tls = certPath === undefined || keyPath === undefined ? undefined : { cert: readFileSync(certPath, 'utf8'), key: readFileSync(keyPath, 'utf8') };
    const repo = await context.openRepo();
    const server = await startRepoServer({ repo: repo.path, host, port, tls, signal, on: (event) => ui.detail(describe(event)) });
    // At once: whoever started this waits for it.
    await ui.writeAll(Buffer.from(`${server.url}\n`));
    await server.stopped;
    return undefined;
  },
};

function describe({ client, method, path, httpVersion, status, sentBytes, durationMs }: ServerEvent): string {
  return `${new Date().toISOString()} ${client} ${method} ${path} HTTP/${httpVersion} ${status} ${sentBytes} bytes ${Math.round(durationMs)} ms`;
}
