/** A small app with real images, packed and mounted through the built command; for the end-to-end tests. Holds no test itself. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type BuiltLayout,
  buildImageLayout,
  busyboxPath,
  type CleanUp,
  defer,
  firstReason,
  needsPeer,
  needsPodman,
  type PodmanEnvironment,
  podmanEnvironment,
  type RunOptions,
  type RunResult,
  run,
  type TarEntrySpec,
} from '@cambium/testkit';

export const CAMBIUM: string = join(dirname(dirname(fileURLToPath(import.meta.url))), 'bin/cambium.js');
export const WEB = 'registry.example/shop/web:1';
export const TOOL = 'registry.example/shop/tool:1';
export const BUSYBOX = '/bin/busybox';

/** VFS_CAP_REVISION_2, effective: CAP_NET_BIND_SERVICE. Source: linux/capability.h. */
export const CAPABILITY: Buffer = Buffer.from('0100000200040000000000000000000000000000', 'hex');

/** Returns the reason to skip a test that mounts apps for podman, or false. */
export function needsMounting(rootless: boolean): string | false {
  return firstReason(needsPodman({ rootless }), needsPeer('busybox'), rootless && process.getuid?.() === 0 ? needsOpenPath() : false);
}

/** The made-up user runs our command from this checkout. */
function needsOpenPath(): string | false {
  for (const path of [process.execPath, CAMBIUM]) {
    for (let at = dirname(realpathSync(path)); at !== '/'; at = dirname(at)) {
      if ((statSync(at).mode & 0o001) === 0) return `other users cannot enter ${at}`;
    }
  }
  return false;
}

export interface Shop {
  environment: PodmanEnvironment;
  /** Project directory: `shop`, with `docker-compose.yml` and `page/index.html`. */
  project: string;
  web: BuiltLayout;
  tool: BuiltLayout;
  /** Where mounted apps are kept. */
  state: string;
  /** Runs the command as the user of the environment. */
  cambium(args: readonly string[], options?: Omit<RunOptions, 'env'> & { env?: Record<string, string> }): Promise<RunResult>;
  /** Packs the project and returns the commit. */
  pack(repo: string, branch?: string): Promise<string>;
  /** Mounts and returns the result. */
  mount(repo: string, ...args: readonly string[]): Promise<MountJson>;
  /** Makes version `n` of the web image and lets the next pack use it. */
  setVersion(n: number): Promise<BuiltLayout>;
  /** Makes an image of one layer. */
  buildBase(more?: readonly TarEntrySpec[]): Promise<BuiltLayout>;
}

export interface MountJson {
  name: string;
  commit: string;
  appPath: string;
  storePath: string;
  images: Record<string, string>;
  unchanged: boolean;
  replaced?: string;
}

/** Builds the images and the project; podman and its settings are the environment's own. */
export async function makeShop(t: CleanUp, options: { rootless: boolean; environment?: PodmanEnvironment }): Promise<Shop> {
  const environment = options.environment ?? (await podmanEnvironment({ rootless: options.rootless }));
  defer(t, () => environment.stop());
  const { directory } = environment;
  const project = join(directory, 'project/shop');
  mkdirSync(join(project, 'page'), { recursive: true });
  writeFileSync(join(project, 'page/index.html'), 'hello\n');
  writeFileSync(join(project, 'docker-compose.yml'), composeText());
  const state = join(directory, 'state');
  if (environment.rootless && process.getuid?.() !== 0) {
    // Files of a container's users can be deleted inside the user namespace only, and podman must not miss their store then.
    defer(t, async () => {
      await environment.podman('rm', '--all', '--force', '--time', '0');
      environment.setImageStores([]);
      await environment.podman('unshare', 'rm', '-rf', state);
    });
  }
  const tool = await buildImageLayout(join(directory, 'images/tool'), {
    images: [{ layers: [{ entries: baseEntries() }, { entries: [{ path: 'etc/tool', content: 'tool\n' }] }], config: { Cmd: [BUSYBOX, 'sleep', '600'] } }],
  });
  let web = await buildWeb(directory, 1);

  const cambium: Shop['cambium'] = (args, more = {}) =>
    environment.run(process.execPath, [CAMBIUM, ...args], { ...more, env: { CAMBIUM_STATE: state, NODE_V8_COVERAGE: '', ...more.env } });
  const own = async (): Promise<void> => {
    if (environment.rootless && process.getuid?.() === 0) await chownAll(directory, environment.uid);
  };
  await own();
  return {
    environment,
    project,
    get web() {
      return web;
    },
    tool,
    state,
    cambium,
    async pack(repo, branch = 'apps/shop') {
      const sources = ['--image-source', `${WEB}=${web.reference}`, '--image-source', `${TOOL}=${tool.reference}`];
      const { stdout } = await cambium(['pack', '--quiet', '--repo', repo, '--timestamp', '@1700000000', ...sources, branch, project]);
      assert.match(stdout, /^[0-9a-f]{64}\n$/);
      return stdout.trim();
    },
    async mount(repo, ...args) {
      const { stdout } = await cambium(['mount', '--json', '--repo', repo, ...args]);
      return JSON.parse(stdout) as MountJson;
    },
    async setVersion(n) {
      web = await buildWeb(directory, n);
      await own();
      return web;
    },
    async buildBase(more = []) {
      const layout = await buildImageLayout(join(directory, 'images/base'), { images: [{ layers: [{ entries: [...baseEntries(), ...more] }] }] });
      await own();
      return layout;
    },
  };
}

/** Two layers: what the upper one deletes, replaces and hides must be gone in the container. */
function buildWeb(directory: string, version: number): Promise<BuiltLayout> {
  return buildImageLayout(join(directory, `images/web-${version}`), {
    index: true,
    images: [
      {
        layers: [
          { entries: baseEntries() },
          {
            entries: [
              { path: 'etc/version', content: `${version}\n` },
              { path: 'etc/.wh.gone' },
              { path: 'opt/dir/' },
              { path: 'opt/dir/.wh..wh..opq' },
              { path: 'opt/dir/new', content: 'new\n' },
            ],
          },
        ],
        config: { Cmd: [BUSYBOX, 'sleep', '600'], User: '1000' },
      },
    ],
  });
}

function baseEntries(): TarEntrySpec[] {
  const busybox = readFileSync(busyboxPath() ?? '');
  return [
    { path: 'bin/' },
    { path: 'bin/busybox', content: busybox, mode: 0o755 },
    { path: 'bin/sh', kind: 'symlink', target: 'busybox' },
    { path: 'bin/busybox-capable', content: busybox, mode: 0o755, xattrs: { 'security.capability': CAPABILITY } },
    { path: 'bin/setuid', content: '#!/bin/sh\n', mode: 0o4755 },
    { path: 'etc/' },
    { path: 'etc/gone', content: 'gone\n' },
    { path: 'opt/' },
    { path: 'opt/dir/' },
    { path: 'opt/dir/old', content: 'old\n' },
    { path: 'home/' },
    { path: 'home/user/', uid: 1000, gid: 1000, mode: 0o750 },
    { path: 'home/user/mine', content: 'mine\n', uid: 1000, gid: 1000, mode: 0o600 },
    { path: 'root/', mode: 0o700 },
    { path: 'closed/', mode: 0o000 },
    { path: 'tmp/', mode: 0o1777 },
  ];
}

function composeText(): string {
  return `# The shop
services:
  web:
    image: ${WEB}   # the front
    volumes: ["./page:/page:ro"]
  tool:
    image: ${TOOL}
`;
}

async function chownAll(directory: string, uid: number): Promise<void> {
  for (const name of ['project', 'images']) if (existsSync(join(directory, name))) await run('chown', ['-R', `${uid}:${uid}`, join(directory, name)]);
}
