/**
 * Podman, buildah and skopeo with stores and settings of their own, as root or rootless, without systemd or D-Bus.
 *
 * What needs care on a bare machine, each found by a real run of podman 4.3.1 with runc 1.1.5:
 * - runc cannot do `--cgroups=disabled`, so the cgroup manager is `cgroupfs`;
 * - the limits that podman asks for by default may be above what the machine grants, so they are set low;
 * - a journal is missing, so logs and events go to files;
 * - `tmp_dir` must be apart, or two stores of one user share locks and events;
 * - the policy and the search registries are read from the home directory, so that is apart too.
 */
import { accessSync, chmodSync, chownSync, constants, existsSync, mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { mountsUnder, unmountAll } from './mounts.ts';
import { firstReason, needsPeer, needsRoot, peer } from './peers.ts';
import { killProcessesOf } from './processes.ts';
import { type RunOptions, type RunResult, run } from './run.ts';
import { removeAll, scratchDirectory } from './scratch.ts';
import { throwawayUser } from './throwaway-user.ts';

export interface PodmanOptions {
  /** Runs as an unprivileged user: one made up for this environment when the test runs as root, otherwise the caller. */
  rootless: boolean;
  /** Where everything lives; a directory of its own, removed by `stop`, when absent. */
  directory?: string;
  /** Registries that speak plain HTTP: `127.0.0.1:5000`. */
  insecureRegistries?: readonly string[];
  /** Read-only stores, also settable later with {@link PodmanEnvironment.setImageStores}. */
  imageStores?: readonly string[];
}

export interface PodmanEnvironment {
  readonly rootless: boolean;
  /** Belongs to the user of the environment; free for a test's own files. */
  readonly directory: string;
  /** The home directory: `~/.config/containers` holds copies of the settings. */
  readonly home: string;
  readonly storageConf: string;
  readonly containersConf: string;
  readonly authFile: string;
  readonly uid: number;
  /** The whole environment for programs started in other ways than {@link run}. */
  readonly env: Readonly<Record<string, string>>;
  /** Returns what to spawn so that `command` runs as the user of the environment. */
  wrap(command: string, args?: readonly string[]): { command: string; args: string[] };
  /** Runs any program as the user of the environment, with its settings. */
  run(command: string, args?: readonly string[], options?: Omit<RunOptions, 'env'> & { env?: Record<string, string> }): Promise<RunResult>;
  /** Runs podman and returns its standard output without the last line end. */
  podman(...args: readonly string[]): Promise<string>;
  /** Rewrites `storage.conf` with these read-only stores. */
  setImageStores(stores: readonly string[]): void;
  /** Gives a path to the user of the environment. */
  own(path: string): void;
  /** Ends all containers and processes, unmounts and removes everything. */
  stop(): Promise<void>;
}

const OVERLAYFS_MAGIC = 0x794c7630;

/** Returns the reason to skip a test that runs podman this way, or false. */
export function needsPodman(options: Pick<PodmanOptions, 'rootless'>): string | false {
  const programs = options.rootless
    ? needsPeer('podman', 'runc', 'conmon', 'newuidmap', 'catatonit', 'setpriv', 'unshare')
    : firstReason(needsPeer('podman', 'runc', 'conmon'), needsRoot());
  return firstReason(programs, options.rootless ? needsSubordinateIds() : false, needsPlainFileSystem());
}

/** Returns the reason to skip a test whose containers use a bridge network, as `podman-compose up` makes one. */
export function needsPodmanNetwork(options: Pick<PodmanOptions, 'rootless'>): string | false {
  const tun = process.getuid?.() === 0 || !options.rootless || mayOpen('/dev/net/tun') ? false : 'cannot open /dev/net/tun';
  const helpers = ['netavark', 'aardvark-dns'].filter((name) => !existsSync(join('/usr/lib/podman', name)));
  return firstReason(
    needsPodman(options),
    needsPeer('iptables', ...(options.rootless ? ['slirp4netns'] : [])),
    helpers.length === 0 ? false : `not installed: ${helpers.join(', ')}`,
    tun,
  );
}

/** Makes the environment. The caller stops it: `defer(t, () => environment.stop())`. */
export async function podmanEnvironment(options: PodmanOptions): Promise<PodmanEnvironment> {
  const directory = options.directory ?? scratchDirectory('cambium-podman-');
  const user = options.rootless && process.getuid?.() === 0 ? throwawayUser(directory) : undefined;
  const uid = user?.uid ?? process.getuid?.() ?? 0;
  const home = join(directory, 'home');
  const settings = join(home, '.config/containers');
  for (const folder of ['home/.config/containers', 'copy', 'volumes', 'networks', 'tmp', 'runtime', 'graph', 'run']) {
    mkdirSync(join(directory, folder), { recursive: true });
  }
  // A socket's path has room for 108 bytes, and podman makes sockets here.
  chmodSync(join(directory, 'runtime'), 0o700);
  const storageConf = join(settings, 'storage.conf');
  const containersConf = join(settings, 'containers.conf');
  const registriesConf = join(settings, 'registries.conf');
  const authFile = join(settings, 'auth.json');
  writeFileSync(containersConf, containersConfText(directory));
  writeFileSync(registriesConf, registriesConfText(options.insecureRegistries ?? []));
  writeFileSync(join(settings, 'policy.json'), JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }));
  // Podman refuses to start when the file that the variable names is missing.
  writeFileSync(authFile, '{}');
  const setImageStores = (stores: readonly string[]): void => writeFileSync(storageConf, storageConfText(directory, stores));
  setImageStores(options.imageStores ?? []);

  const env: Record<string, string> = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: home,
    USER: user?.name ?? userInfo().username,
    LANG: 'C.UTF-8',
    XDG_RUNTIME_DIR: join(directory, 'runtime'),
    TMPDIR: join(directory, 'copy'),
    CONTAINERS_CONF: containersConf,
    CONTAINERS_STORAGE_CONF: storageConf,
    CONTAINERS_REGISTRIES_CONF: registriesConf,
    REGISTRY_AUTH_FILE: authFile,
  };
  const own = (path: string): void => {
    if (user !== undefined) chownSync(path, user.uid, user.gid);
  };
  if (user !== undefined) {
    chmodSync(directory, 0o755);
    await run('chown', ['-R', `${user.uid}:${user.gid}`, directory]);
  }

  const wrap = (command: string, args: readonly string[] = []): { command: string; args: string[] } =>
    user === undefined ? { command, args: [...args] } : user.wrap(command, args);
  const runHere: PodmanEnvironment['run'] = (command, args, more = {}) => {
    const wrapped = wrap(command, args);
    return run(wrapped.command, wrapped.args, { cwd: directory, ...more, env: { ...env, ...more.env } });
  };
  return {
    rootless: options.rootless,
    directory,
    home,
    storageConf,
    containersConf,
    authFile,
    uid,
    env,
    wrap,
    run: runHere,
    podman: async (...args) => (await runHere('podman', args)).stdout.replace(/\n$/, ''),
    setImageStores,
    own,
    async stop() {
      if (!existsSync(directory)) return;
      await runHere('podman', ['rm', '--all', '--force', '--time', '0'], { accept: 'any' });
      if (options.rootless) {
        // Ends the process that holds the user namespace open; files of foreign ids go from inside the namespace.
        if (user === undefined) await runHere('podman', ['unshare', 'rm', '-rf', join(directory, 'graph')], { accept: 'any' });
        await runHere('podman', ['system', 'migrate'], { accept: 'any' });
      } else {
        await removeNetworks(runHere);
      }
      if (user !== undefined) {
        await killProcessesOf(user.uid);
        rmSync(`/dev/shm/libpod_rootless_lock_${user.uid}`, { force: true });
      }
      if (process.getuid?.() === 0) await unmountAll(mountsUnder(directory));
      removeAll(directory);
    },
  };
}

/** A static program that makes a small image: Debian's busybox-static. */
export function busyboxPath(): string | undefined {
  return peer('busybox')?.path;
}

async function removeNetworks(runHere: PodmanEnvironment['run']): Promise<void> {
  const { stdout } = await runHere('podman', ['network', 'ls', '--format', '{{.Name}}'], { accept: 'any' });
  for (const name of stdout.split('\n')) if (name !== '' && name !== 'podman') await runHere('podman', ['network', 'rm', '--force', name], { accept: 'any' });
}

function containersConfText(directory: string): string {
  // Each environment takes its addresses from a range of its own: two tests may make networks at once.
  const range = 128 + (Number.parseInt(Buffer.from(directory).toString('hex').slice(-4), 16) % 100);
  return `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
log_driver = "k8s-file"
netns = "none"

[network]
network_backend = "netavark"
network_config_dir = ${toml(join(directory, 'networks'))}
default_subnet_pools = [{ "base" = "10.${range}.0.0/16", "size" = 24 }]

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
static_dir = ${toml(join(directory, 'graph/libpod'))}
tmp_dir = ${toml(join(directory, 'tmp'))}
volume_path = ${toml(join(directory, 'volumes'))}
image_copy_tmp_dir = ${toml(join(directory, 'copy'))}

[engine.runtimes]
runc = [${toml(peer('runc')?.path ?? '/usr/sbin/runc')}]
`;
}

function storageConfText(directory: string, imageStores: readonly string[]): string {
  return `[storage]
driver = "overlay"
graphroot = ${toml(join(directory, 'graph'))}
runroot = ${toml(join(directory, 'run'))}
rootless_storage_path = ${toml(join(directory, 'graph'))}

[storage.options]
additionalimagestores = [${imageStores.map(toml).join(', ')}]
`;
}

function registriesConfText(insecure: readonly string[]): string {
  const entries = insecure.map((location) => `\n[[registry]]\nlocation = ${toml(location)}\ninsecure = true\n`);
  return `unqualified-search-registries = []\nshort-name-mode = "disabled"\n${entries.join('')}`;
}

function toml(text: string): string {
  return JSON.stringify(text);
}

function needsSubordinateIds(): string | false {
  if (process.getuid?.() === 0) return false; // the made-up user gets its own
  const { username, uid } = userInfo();
  const has = ['/etc/subuid', '/etc/subgid'].every(
    (file) =>
      existsSync(file) &&
      readFileSync(file, 'utf8')
        .split('\n')
        .some((line) => line.startsWith(`${username}:`) || line.startsWith(`${uid}:`)),
  );
  return has ? false : `no subordinate ids for ${username}: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${username}`;
}

function needsPlainFileSystem(): string | false {
  return statfsSync(tmpdir()).type === OVERLAYFS_MAGIC ? `${tmpdir()} is on overlayfs, which cannot hold another overlay` : false;
}

function mayOpen(device: string): boolean {
  try {
    accessSync(device, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
