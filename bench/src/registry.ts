/** docker-registry on loopback with nothing in between: a counting proxy would take its share of two processors. */
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface BenchRegistry {
  /** `127.0.0.1:PORT` */
  host: string;
  stop(): Promise<void>;
}

const READY_TRIES = 100;

export async function startBenchRegistry(directory: string): Promise<BenchRegistry> {
  mkdirSync(directory, { recursive: true });
  const host = `127.0.0.1:${await freePort()}`;
  const config = join(directory, 'config.yml');
  const storage = { filesystem: { rootdirectory: join(directory, 'storage') }, cache: { blobdescriptor: 'inmemory' } };
  // JSON is YAML.
  writeFileSync(config, JSON.stringify({ version: '0.1', log: { level: 'error', accesslog: { disabled: true } }, storage, http: { addr: host } }));
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()).once('error', () => resolve()));
  for (let i = 0; i < READY_TRIES; i++) {
    const answer = await fetch(`http://${host}/v2/`).catch(() => undefined);
    if (answer?.ok) {
      return {
        host,
        stop: async () => {
          child.kill('SIGKILL');
          await ended;
        },
      };
    }
    await sleep(100);
  }
  child.kill('SIGKILL');
  throw new Error('docker-registry did not start');
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('No port');
  return address.port;
}
