/** Asking other programs for their version. */
import { execFile } from 'node:child_process';
import { basename } from 'node:path';
import type { Environment } from '../environment.ts';

const TIMEOUT_MS = 10_000;

/** Returns the line that tells the version, or the first that says something, or undefined when the program fails or says nothing. */
export function firstLine(path: string, args: readonly string[], environment: Environment, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(path, args, { env: environment.variables, timeout: TIMEOUT_MS, signal }, (error, stdout) => {
      if (error !== null) {
        resolve(undefined);
        return;
      }
      const lines = stdout
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => line !== '');
      // podman-compose tells of podman first; `ostree --version` is YAML: the second line has the number.
      const named = lines.find((line) => line.startsWith(basename(path)) && /\d/.test(line));
      const [first, second] = lines;
      resolve(named ?? (first?.endsWith(':') === true ? `${first} ${second ?? ''}` : first));
    });
  });
}
