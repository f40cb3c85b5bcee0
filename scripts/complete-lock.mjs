// Adds to package-lock.json the optional packages of other platforms that a registry did not serve when it was written.
// Without their entries `npm ci` refuses the file: "Missing: … from lock file". They have no integrity until someone
// writes the file against a registry that has them; here they are never fetched. Run after `npm install`.
import { readFileSync, writeFileSync } from 'node:fs';

const SYSTEMS = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'openharmony', 'sunos', 'win32'];
const PROCESSORS = ['arm64', 'arm', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'x64', 'wasm32'];

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
for (const entry of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const words = name.split('/').at(-1).split('-');
    const os = SYSTEMS.find((word) => words.includes(word));
    const cpu = PROCESSORS.find((word) => words.includes(word));
    if (lock.packages[`node_modules/${name}`] !== undefined) continue;
    // WebAssembly runs on every system.
    if ((os === undefined && cpu !== 'wasm32') || cpu === undefined || !/^\d/.test(version)) throw new Error(`Cannot tell the platform or version of ${name}`);
    const libc = words.some((word) => word.startsWith('musl')) ? 'musl' : words.some((word) => word.startsWith('gnu')) ? 'glibc' : undefined;
    lock.packages[`node_modules/${name}`] = {
      version,
      cpu: [cpu],
      ...(entry.dev ? { dev: true } : {}),
      ...(os === 'linux' && libc !== undefined ? { libc: [libc] } : {}),
      optional: true,
      ...(os === undefined ? {} : { os: [os] }),
    };
  }
}
const byPath = ([a], [b]) => a.localeCompare(b, 'en');
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(byPath));
writeFileSync('package-lock.json', `${JSON.stringify(lock, undefined, 2)}\n`);
