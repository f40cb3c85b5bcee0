/**
 * Three real images for benchmarks and end-to-end tests: nginx, redis and a Flask app, each about 200 MB, from the
 * machine's own Debian sources. They share their base layer, as images of one house do.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '@cambium/base';
import { debianArchive, MERGED_USR, tarDirectory } from './debian-packages.ts';
import { type BuiltImage, type BuiltLayout, buildImageLayout, type StoredLayer, storeLayer } from './image-layout.ts';
import type { TarEntrySpec } from './tar-bytes.ts';

export interface DebianImages {
  nginx: BuiltLayout;
  redis: BuiltLayout;
  flask: BuiltLayout;
  /** The Flask image after one file of its app was edited: all layers but the last are the same. */
  flaskChanged: BuiltLayout;
  /** The same contents as images of different houses have them: base and packages in one layer, so that none is shared. */
  apart: Record<'nginx' | 'redis' | 'flask' | 'flaskChanged', BuiltLayout>;
  /** Bytes of each image's layers, uncompressed. */
  sizes: Record<'nginx' | 'redis' | 'flask', number>;
}

/** Part of the directory's name: other contents need another number. */
const VERSION = 2;
const ALSO_IN_BASE = ['ca-certificates', 'curl', 'openssl', 'procps'];

interface Saved {
  layouts: Record<string, { tag: string; digest: Digest; images: BuiltImage[] }>;
  sizes: DebianImages['sizes'];
}

/**
 * Returns the images, made when the cache directory does not have them: about a minute, 60 MB of downloads, no root.
 *
 * @param cacheDirectory kept between runs, as in `.cache`
 * @param report is told what happens, a line at a time
 */
export async function makeDebianImages(cacheDirectory: string, report: (line: string) => void = () => undefined): Promise<DebianImages> {
  const directory = join(cacheDirectory, `debian-images-${VERSION}`);
  if (!existsSync(join(directory, 'images.json'))) {
    const work = `${directory}.new-${process.pid}`;
    try {
      mkdirSync(work, { recursive: true });
      const saved = await make(work, report);
      writeFileSync(join(work, 'images.json'), JSON.stringify(saved));
      rmSync(directory, { recursive: true, force: true });
      renameSync(work, directory);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
  const saved = JSON.parse(readFileSync(join(directory, 'images.json'), 'utf8')) as Saved;
  const layout = (name: string): BuiltLayout => {
    const place = join(directory, name);
    const known = saved.layouts[name] as Saved['layouts'][string];
    return {
      ...known,
      directory: place,
      reference: `oci:${place}:${known.tag}`,
      blobPath: (digest) => join(place, 'blobs/sha256', digest.slice(digest.indexOf(':') + 1)),
    };
  };
  const apart = { nginx: layout('nginx-apart'), redis: layout('redis-apart'), flask: layout('flask-apart'), flaskChanged: layout('flaskChanged-apart') };
  return { nginx: layout('nginx'), redis: layout('redis'), flask: layout('flask'), flaskChanged: layout('flaskChanged'), apart, sizes: saved.sizes };
}

async function make(directory: string, report: (line: string) => void): Promise<Saved> {
  report('asking apt for the packages');
  const archive = await debianArchive(join(directory, 'apt'));
  const base = await archive.closure([...(await archive.required()), ...ALSO_IN_BASE]);
  const layers = join(directory, 'layers');
  mkdirSync(layers);
  const layerOf = async (name: string, packages: readonly string[], more?: (root: string) => void): Promise<StoredLayer & { tarBytes: number }> => {
    report(`laying out ${packages.length} packages for ${name}`);
    const root = join(directory, 'root');
    mkdirSync(root);
    await archive.unpack(packages, root);
    more?.(root);
    const tar = join(directory, 'layer.tar');
    await tarDirectory(root, tar, more === undefined ? MERGED_USR : []);
    const stored = await storeLayer(layers, tar);
    const { size } = statSync(tar);
    rmSync(root, { recursive: true });
    rmSync(tar);
    return { ...stored, tarBytes: size };
  };

  const baseLayer = await layerOf('base', base, writeAccounts);
  const saved: Saved = { layouts: {}, sizes: { nginx: 0, redis: 0, flask: 0 } };
  const put = async (name: string, stored: readonly StoredLayer[], app: readonly TarEntrySpec[], command: readonly string[]): Promise<void> => {
    const { tag, digest, images } = await buildImageLayout(join(directory, name), {
      images: [
        {
          layers: [...stored.map((layer) => ({ stored: layer })), { entries: app }],
          config: { Cmd: command, Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] },
        },
      ],
    });
    saved.layouts[name] = { tag, digest, images };
  };
  for (const [name, packages, app, command] of RECIPES) {
    const own = (await archive.closure([...base, ...packages])).filter((candidate) => !base.includes(candidate));
    const layer = await layerOf(name, own);
    const whole = await layerOf(`${name}-apart`, [...base, ...own], writeAccounts);
    saved.sizes[name] = baseLayer.tarBytes + layer.tarBytes;
    for (const [suffix, stored] of [
      ['', [baseLayer, layer]],
      ['-apart', [whole]],
    ] as const) {
      await put(`${name}${suffix}`, stored, app, command);
      if (name === 'flask') await put(`flaskChanged${suffix}`, stored, flaskApp('Hello again'), command);
    }
  }
  rmSync(join(directory, 'apt'), { recursive: true });
  rmSync(layers, { recursive: true });
  return saved;
}

/** What the packages' scripts would do, as far as a program needs it to start. */
function writeAccounts(root: string): void {
  for (const name of ['passwd', 'group']) writeFileSync(join(root, 'etc', name), readFileSync(join(root, 'usr/share/base-passwd', `${name}.master`)));
  writeFileSync(join(root, 'etc/hostname'), 'localhost\n');
}

const RECIPES: readonly (readonly ['nginx' | 'redis' | 'flask', readonly string[], readonly TarEntrySpec[], readonly string[]])[] = [
  ['nginx', ['nginx'], nginxApp(), ['/usr/sbin/nginx', '-g', 'daemon off;']],
  ['redis', ['redis-server', 'redis-tools'], redisApp(), ['/usr/bin/redis-server', '/etc/redis/redis.conf']],
  ['flask', ['python3-flask', 'gunicorn'], flaskApp('Hello'), ['/usr/bin/gunicorn', '--chdir', '/srv/app', 'app:app']],
];

function nginxApp(): TarEntrySpec[] {
  return [
    { path: 'etc/' },
    { path: 'etc/nginx/' },
    { path: 'etc/nginx/conf.d/' },
    { path: 'etc/nginx/conf.d/site.conf', content: 'server {\n  listen 8080;\n  root /srv/site;\n}\n' },
    { path: 'srv/' },
    { path: 'srv/site/' },
    ...Array.from({ length: 200 }, (_, i) => ({ path: `srv/site/page-${i}.html`, content: `<h1>Page ${i}</h1>\n${'<p>text</p>\n'.repeat(i)}` })),
  ];
}

function redisApp(): TarEntrySpec[] {
  return [
    { path: 'etc/' },
    { path: 'etc/redis/', mode: 0o750 },
    // The package's own file is replaced, so that squashing has something to do.
    { path: 'etc/redis/redis.conf', content: 'bind 0.0.0.0\nport 6379\nsave ""\n', mode: 0o640 },
  ];
}

function flaskApp(greeting: string): TarEntrySpec[] {
  return [
    { path: 'srv/' },
    { path: 'srv/app/' },
    { path: 'srv/app/app.py', content: `import flask\n\napp = flask.Flask(__name__)\n\n@app.get("/")\ndef index():\n    return "${greeting}"\n` },
    { path: 'srv/app/templates/' },
    ...Array.from({ length: 100 }, (_, i) => ({ path: `srv/app/templates/part-${i}.html`, content: `<li>{{ items[${i}] }}</li>\n`.repeat(i + 1) })),
  ];
}
