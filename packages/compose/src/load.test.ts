import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { KnownError } from '@cambium/base';
import { type LoadOptions, loadProject } from './load.ts';
import { resolvedModel } from './resolved-model.ts';
import type { Mapping, Project } from './types.ts';

let root = '';
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'cambium-load-')));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}
const load = (options: Partial<LoadOptions> = {}): Promise<Project> => loadProject({ workingDirectory: root, environment: {}, ...options });
const service = (project: Project, name: string): Mapping => project.model.services[name] as Mapping;

test('finds files: names, overrides, parents, COMPOSE_FILE, project directory', async () => {
  write({
    'p/compose.yaml': 'services: {a: {image: one}}',
    'p/docker-compose.yml': 'services: {a: {image: no}}',
    'p/compose.override.yml': 'services: {a: {restart: always}}',
    'p/in/deep/x': '',
  });
  const project = await load({ workingDirectory: join(root, 'p/in/deep') });
  assert.equal(project.directory, join(root, 'p'));
  assert.equal(project.name, 'p');
  assert.deepEqual(service(project, 'a'), { image: 'one', restart: 'always' });
  assert.deepEqual(
    project.files.map((file) => [file.path.slice(root.length), file.role]),
    [
      ['/p/compose.yaml', 'compose'],
      ['/p/compose.override.yml', 'override'],
    ],
  );
  assert.deepEqual(
    project.warnings.map((warning) => warning.code),
    ['SEVERAL_FILES'],
  );

  write({ 'q/x.yml': 'services: {a: {image: x, env_file: [e]}}', 'q/y.yml': 'services: {a: {image: y}}', 'q/e': '' });
  const named = await load({ environment: { COMPOSE_FILE: 'q/x.yml;q/y.yml', COMPOSE_PATH_SEPARATOR: ';' } });
  assert.equal(service(named, 'a').image, 'y');
  assert.deepEqual(
    named.localFiles.map((file) => file.path),
    [join(root, 'q/e')],
  );
  const moved = await load({ files: ['q/x.yml'], projectDirectory: '.' });
  assert.deepEqual(
    moved.localFiles.map((file) => file.path),
    [join(root, 'e')],
  );

  const empty = mkdtempSync(join(tmpdir(), 'cambium-none-'));
  await assert.rejects(load({ workingDirectory: empty }), { code: 'COMPOSE_FILE_NOT_FOUND', message: /or above/ });
  rmSync(empty, { recursive: true });
  await assert.rejects(load({ files: ['nope.yml'] }), { code: 'COMPOSE_FILE_NOT_FOUND', message: /nope\.yml/ });
  assert.equal(service(await load({ files: ['-'], stdin: 'services: {a: {image: in}}' }), 'a').image, 'in');
});

test('.env: precedence, --env-file, disabling, COMPOSE_FILE in it', async () => {
  write({ 'compose.yaml': 'services: {a: {image: "$A-$B-${C-none}"}}', '.env': 'A=env\nB=${A}x\n', 'other.env': 'A=other\nC=$A', 'last.env': 'C=last' });
  const image = async (options: Partial<LoadOptions>): Promise<unknown> => service(await load(options), 'a').image;
  assert.equal(await image({}), 'env-envx-none');
  assert.equal(await image({ environment: { A: 'outer' } }), 'outer-outerx-none');
  assert.equal(await image({ envFiles: ['other.env', 'last.env'] }), 'other--last');
  assert.equal(await image({ environment: { COMPOSE_ENV_FILES: 'other.env' } }), 'other--other');
  assert.equal(await image({ environment: { COMPOSE_DISABLE_ENV_FILE: '1' } }), '--none');
  await assert.rejects(load({ envFiles: ['nope.env'] }), { code: 'COMPOSE_FILE_NOT_FOUND' });
  write({
    '.env': 'COMPOSE_FILE=z.yml\nCOMPOSE_PROJECT_NAME=fromenv\nCOMPOSE_PROFILES=x , y',
    'z.yml': 'services: {a: {image: z}, b: {image: b, profiles: [x]}, c: {image: c, profiles: [no]}}',
  });
  const project = await load({ profiles: 'environment' });
  assert.equal(project.name, 'fromenv');
  assert.deepEqual(Object.keys(project.model.services), ['a', 'b']);
});

test('project names', async () => {
  write({
    'My Dir_1/compose.yaml': 'services: {a: {image: "i:${COMPOSE_PROJECT_NAME}"}}',
    'n.yml': 'name: one-$N\nservices: {a: {image: i}}\n---\nname: Two$N\n',
  });
  const at = { workingDirectory: join(root, 'My Dir_1') };
  assert.equal((await load(at)).name, 'mydir_1');
  assert.equal(service(await load(at), 'a').image, 'i:mydir_1');
  assert.equal((await load({ files: ['n.yml'], environment: { N: '_x' } })).name, 'two_x');
  assert.equal((await load({ ...at, projectName: 'given' })).name, 'given');
  assert.equal((await load({ ...at, environment: { COMPOSE_PROJECT_NAME: 'e-1' } })).name, 'e-1');
  await assert.rejects(load({ ...at, projectName: 'Given' }), { code: 'COMPOSE_PROJECT_NAME_INVALID' });
  await assert.rejects(load({ ...at, environment: { COMPOSE_PROJECT_NAME: '-x' } }), { code: 'COMPOSE_PROJECT_NAME_INVALID' });
});

test('extends: chains, files, relative paths, merging, reset', async () => {
  write({
    'compose.yaml': `
services:
  a: {extends: b, environment: {X: a}, ports: !reset []}
  b: {extends: {service: c, file: lib/base.yml}, environment: {Y: b}}
`,
    'lib/base.yml': `
services:
  c: {extends: d, image: "c:$TAG", volumes: ["./data:/d"], env_file: c.env, ports: ["1:1"]}
  d: {extends: {service: e, file: deeper/e.yml}, labels: [d=1]}
`,
    'lib/deeper/e.yml': 'services: {e: {image: e, environment: [X=e, Z=e], build: .}}',
  });
  const project = await load({ environment: { TAG: '1' } });
  assert.deepEqual(service(project, 'a'), {
    image: 'c:1',
    environment: { X: 'a', Z: 'e', Y: 'b' },
    build: { context: join(root, 'lib/deeper'), dockerfile: 'Dockerfile' },
    labels: { d: '1' },
    volumes: [{ type: 'bind', source: join(root, 'lib/data'), target: '/d', bind: { create_host_path: true } }],
    env_file: [{ path: join(root, 'lib/c.env'), required: true }],
  });
  assert.ok(Array.isArray(service(project, 'b').ports));
  assert.deepEqual(
    project.files.map((file) => file.role),
    ['compose', 'extends', 'extends'],
  );
});

test('extends: what is missing or circular is named', async () => {
  const rejected = async (files: Record<string, string>, code: string, message: RegExp): Promise<void> => {
    write(files);
    await assert.rejects(load(), { code, message }, JSON.stringify(files));
  };
  await rejected(
    { 'compose.yaml': 'services:\n  a: {extends: b}\n' },
    'COMPOSE_EXTENDS_MISSING',
    /service "b" not found in .*compose\.yaml.*"a" in .*compose\.yaml:2/,
  );
  await rejected(
    { 'compose.yaml': 'services: {a: {extends: {service: b, file: x.yml}}}', 'x.yml': 'services: {c: {image: i}}' },
    'COMPOSE_EXTENDS_MISSING',
    /"b" not found in .*x\.yml.*compose\.yaml/,
  );
  await rejected(
    { 'compose.yaml': 'services: {a: {extends: b}, b: {extends: c}, c: {extends: a}}' },
    'COMPOSE_EXTENDS_CYCLE',
    /a in .* → b in .* → c in .* → a in/,
  );
  await rejected(
    { 'compose.yaml': 'services: {a: {extends: {service: b, file: x.yml}}}', 'x.yml': 'services: {b: {extends: {service: a, file: compose.yaml}}}' },
    'COMPOSE_EXTENDS_CYCLE',
    /a in .*compose\.yaml → b in .*x\.yml → a in .*compose\.yaml/,
  );
  await rejected({ 'compose.yaml': 'services: {a: {extends: {service: b, file: none.yml}}}' }, 'COMPOSE_FILE_MISSING', /none\.yml.*services\.a\.extends\.file/);
  await rejected({ 'compose.yaml': 'services: {a: {extends: {file: x.yml}}}' }, 'COMPOSE_MODEL_INVALID', /extends needs a service/);
});

test('include: own directory and .env, overrides, local definitions win', async () => {
  write({
    'compose.yaml': `
include:
  - sub/compose.yaml
  - path: [other/a.yml, other/b.yml]
    project_directory: elsewhere
    env_file: other/x.env
services:
  web: {image: local, environment: {L: 1}}
`,
    'sub/compose.yaml': 'services: {web: {image: "sub:$TAG", environment: {S: 1}, env_file: s.env}}\nvolumes: {v: }',
    'sub/.env': 'TAG=sub',
    'other/a.yml': 'services: {o: {image: "a:$TAG", volumes: ["./d:/d"]}}',
    'other/b.yml': 'services: {o: {command: run}}',
    'other/x.env': 'TAG=x\nQ=1',
  });
  const project = await load();
  assert.deepEqual(service(project, 'web'), { image: 'local', environment: { S: '1', L: '1' }, env_file: [{ path: join(root, 'sub/s.env'), required: true }] });
  assert.deepEqual(service(project, 'o'), {
    image: 'a:x',
    command: ['run'],
    volumes: [{ type: 'bind', source: join(root, 'elsewhere/d'), target: '/d', bind: { create_host_path: true } }],
  });
  assert.deepEqual(Object.keys(project.model.volumes as Mapping), ['v']);
  // The outer environment stands over the included project's .env.
  assert.equal(service(await load({ environment: { TAG: 'outer' } }), 'o').image, 'a:outer');
});

test('include: cycles and remote resources are errors', async () => {
  write({ 'compose.yaml': 'include: [a.yml]\nservices: {}', 'a.yml': 'include: [b.yml]', 'b.yml': 'include: [link/a.yml]' });
  symlinkSync('.', join(root, 'link'));
  const cycle = [join(root, 'a.yml'), join(root, 'b.yml'), join(root, 'a.yml')];
  await assert.rejects(load(), (error: KnownError) => error.code === 'COMPOSE_INCLUDE_CYCLE' && error.message.endsWith(cycle.join(' → ')));
  write({ 'compose.yaml': 'include: [compose.yaml]\nservices: {}' });
  await assert.rejects(load(), { code: 'COMPOSE_INCLUDE_CYCLE' });
  for (const path of ['https://x/y.git', 'oci://x/y', 'git@github.com:x/y']) {
    write({ 'compose.yaml': `include: ["${path}"]\nservices: {}` });
    await assert.rejects(load(), { code: 'COMPOSE_REMOTE_UNSUPPORTED' });
  }
  write({ 'compose.yaml': 'services: {a: {image: i}}\ninclude:\n  - none.yml' });
  await assert.rejects(load(), { code: 'COMPOSE_FILE_MISSING', message: /none\.yml.*include\[0\]/ });
});

test('includes that double at every level are stopped', async () => {
  const files: Record<string, string> = { 'compose.yaml': 'include: [i0.yml]\nservices: {a: {image: i}}' };
  for (let i = 0; i < 20; i++) files[`i${i}.yml`] = `include: [i${i + 1}.yml, ./i${i + 1}.yml]`;
  files['i20.yml'] = 'services: {b: {image: i}}';
  write(files);
  await assert.rejects(load(), { code: 'COMPOSE_TOO_COMPLEX' });
});

test('many services that extend a large one are stopped', async () => {
  const environment = Array.from({ length: 8000 }, (_, i) => `K${i}: v`).join(', ');
  write({
    'compose.yaml': `services:\n  base: {image: i, environment: {${environment}}}\n${Array.from({ length: 5000 }, (_, i) => `  s${i}: {extends: base}`).join('\n')}\n`,
  });
  await assert.rejects(load(), { code: 'COMPOSE_TOO_COMPLEX' });
});

test('profiles: everything for a packer, what is active for a runner', async () => {
  write({
    'compose.yaml':
      'services: {a: {image: a}, b: {image: b, profiles: [x]}, c: {image: c, profiles: [y, z], depends_on: {b: {condition: service_started, required: false}}}, d: {image: a, depends_on: [a]}}',
  });
  const images = async (options: Partial<LoadOptions>): Promise<string[]> => (await load(options)).images.map((image) => image.reference);
  assert.deepEqual(await images({}), ['a', 'b', 'c']);
  assert.deepEqual(await images({ profiles: [] }), ['a']);
  assert.deepEqual(await images({ profiles: ['z'] }), ['a', 'c']);
  assert.deepEqual(await images({ profiles: ['*'] }), ['a', 'b', 'c']);
  assert.deepEqual(await images({ profiles: 'environment', environment: { COMPOSE_PROFILES: 'x' } }), ['a', 'b']);
  assert.deepEqual((await load()).profiles, ['x', 'y', 'z']);
  write({ 'compose.yaml': 'services: {a: {image: a, depends_on: [b]}, b: {image: b, profiles: [x]}}' });
  await assert.rejects(load({ profiles: [] }), { code: 'COMPOSE_REFERENCE_UNDEFINED', message: /"b" is in a profile that is not active/ });
});

test('images: services, platforms, image volumes, build-only services', async () => {
  write({
    'compose.yaml': `
services:
  a: {image: "i:1"}
  b: {image: "i:1"}
  c: {image: "i:1", platform: linux/arm64}
  d: {build: ./d}
  e: {image: e, build: {context: ./e, additional_contexts: [x=../x, y=docker-image://y]}, volumes: [{type: image, source: "data:1", target: /d}]}
`,
  });
  const project = await load();
  assert.deepEqual(project.images, [
    { reference: 'data:1', services: ['e'], paths: [['services', 'e', 'volumes', 0, 'source']] },
    { reference: 'e', services: ['e'], paths: [['services', 'e', 'image']] },
    {
      reference: 'i:1',
      services: ['a', 'b'],
      paths: [
        ['services', 'a', 'image'],
        ['services', 'b', 'image'],
      ],
    },
    { reference: 'i:1', services: ['c'], platform: 'linux/arm64', paths: [['services', 'c', 'image']] },
  ]);
  assert.deepEqual(project.buildOnly, ['d']);
  assert.deepEqual(
    project.buildContexts.map((context) => [context.service, context.path.replace(dirname(root), '')]),
    [
      ['d', `/${root.split('/').at(-1)}/d`],
      ['e', `/${root.split('/').at(-1)}/e`],
      ['e', '/x'],
      ['e', 'docker-image://y'],
    ],
  );
});

test('local files: kinds, required, keys', async () => {
  write({
    'compose.yaml': `
services:
  a:
    image: i
    env_file: [a.env, {path: b.env, required: false}]
    label_file: l.env
    volumes: ["./x:/x", {type: bind, source: ../y, target: /y}, /etc/localtime:/etc/localtime, "~/z:/z"]
configs: {c: {file: ./c}}
secrets: {s: {file: ./s}, t: {environment: T}}
volumes: {v: {driver: local, driver_opts: {type: none, o: bind, device: ./v}}}
`,
  });
  const project = await load({ environment: { HOME: '/home/me' } });
  assert.deepEqual(
    project.localFiles.map((file) => [file.kind, file.path.replace(root, ''), file.written, file.required, file.key]),
    [
      ['env_file', '/a.env', 'a.env', true, 'services.a.env_file[0]'],
      ['env_file', '/b.env', 'b.env', false, 'services.a.env_file[1]'],
      ['label_file', '/l.env', 'l.env', true, 'services.a.label_file[0]'],
      ['bind', '/x', './x', false, 'services.a.volumes[0]'],
      ['bind', join(dirname(root), 'y'), '../y', true, 'services.a.volumes[1]'],
      ['bind', '/etc/localtime', '/etc/localtime', false, 'services.a.volumes[2]'],
      ['bind', '/home/me/z', '~/z', false, 'services.a.volumes[3]'],
      ['config', '/c', './c', true, 'configs.c.file'],
      ['secret', '/s', './s', true, 'secrets.s.file'],
      ['bind', '/v', './v', true, 'volumes.v.driver_opts.device'],
    ],
  );
});

test('bad models have codes, paths and places', async () => {
  const rows: [string, string, RegExp][] = [
    ['', 'COMPOSE_SERVICES_MISSING', /no services/],
    ['services: {}', 'COMPOSE_SERVICES_MISSING', /no services/],
    ['volumes: {}', 'COMPOSE_SERVICES_MISSING', /no services/],
    ['[]', 'COMPOSE_MODEL_INVALID', /top level must be a mapping/],
    ['text', 'COMPOSE_MODEL_INVALID', /top level must be a mapping/],
    ['services: [a]', 'COMPOSE_MODEL_INVALID', /services: must be a mapping, not a list \(.*:1:1\)/],
    ['services:\n  a:', 'COMPOSE_MODEL_INVALID', /services\.a: must be a mapping, not empty \(.*:2:3\)/],
    ['services:\n  a:\n    restart: always', 'COMPOSE_IMAGE_MISSING', /services\.a: .*neither an image nor a build \(.*:2:3\)/],
    ['service:\n  a: {image: i}', 'COMPOSE_KEY_UNKNOWN', /unknown top-level key "service" \(.*:1:1\)/],
    [
      'services:\n  a:\n    image: i\n    ports:\n      - 80:80\n      - x:y',
      'COMPOSE_VALUE_INVALID',
      /services\.a\.ports\[1\]: invalid port "y" in "x:y" \(.*:6:9\)/,
    ],
    ['services:\n  a: {image: i, privileged: maybe}', 'COMPOSE_VALUE_INVALID', /services\.a\.privileged: "maybe" is not a boolean/],
    ['services: {a: {image: i, deploy: {replicas: "two"}}}', 'COMPOSE_VALUE_INVALID', /services\.a\.deploy\.replicas: "two" is not an integer/],
    [
      'services:\n  a:\n    image: x:${TAG:?set me}',
      'COMPOSE_VARIABLE_REQUIRED',
      /services\.a\.image: required variable TAG is missing a value: set me \(.*:3:5\)/,
    ],
    ['services: {a: {image: "${"}}', 'COMPOSE_TEMPLATE_INVALID', /services\.a\.image: Invalid template: "\$\{"/],
    ['services: {a: {image: [i]}}', 'COMPOSE_MODEL_INVALID', /services\.a\.image: must be text, not a list/],
    ['services: {a: {image: i, volumes: ["v:/v"]}}', 'COMPOSE_REFERENCE_UNDEFINED', /volume "v" is not defined/],
    ['services: {a: {image: i, networks: [n]}}', 'COMPOSE_REFERENCE_UNDEFINED', /network "n" is not defined/],
    ['services: {a: {image: i, secrets: [s]}}', 'COMPOSE_REFERENCE_UNDEFINED', /secret "s" is not defined/],
    ['services: {a: {image: i, configs: [s]}}', 'COMPOSE_REFERENCE_UNDEFINED', /config "s" is not defined/],
    ['services: {a: {image: i, depends_on: [b]}}', 'COMPOSE_REFERENCE_UNDEFINED', /service "b" is not defined/],
    ['services: {a: {image: i, network_mode: "service:b"}}', 'COMPOSE_REFERENCE_UNDEFINED', /service "b" is not defined/],
    ['services: {a: {image: i, network_mode: host, networks: [default]}}', 'COMPOSE_MODEL_INVALID', /exclude each other/],
    ['services: {a: {image: i, depends_on: [b]}, b: {image: i, links: [a]}}', 'COMPOSE_DEPENDENCY_CYCLE', /a → b → a|b → a → b/],
    ['services: {a: {image: i, tmpfs: /x, volumes: [/x]}}', 'COMPOSE_MODEL_INVALID', /"\/x" is mounted twice/],
    ['services: {a: {image: i, healthcheck: {test: [curl]}}}', 'COMPOSE_MODEL_INVALID', /must start with "CMD"/],
    ['services: {a: {image: i}}\nsecrets: {s: {}}', 'COMPOSE_MODEL_INVALID', /secrets\.s: needs "file"/],
    ['services: {a: {image: i}}\nvolumes: {v: {external: {name: x}, name: y}}', 'COMPOSE_MODEL_INVALID', /name and external\.name differ/],
    ['services: {a: {image: i}', 'COMPOSE_YAML_INVALID', /Cannot parse YAML/],
  ];
  for (const [text, code, message] of rows) {
    write({ 'compose.yaml': text });
    await assert.rejects(load(), { code, message }, text);
  }
  writeFileSync(join(root, 'compose.yaml'), Uint8Array.of(0xff, 0xfe));
  await assert.rejects(load(), { code: 'COMPOSE_FILE_INVALID' });
  rmSync(join(root, 'compose.yaml'));
  mkdirSync(join(root, 'compose.yaml'));
  await assert.rejects(load(), { code: 'COMPOSE_FILE_INVALID', message: /not a regular file/ });
});

test('warnings are data: unset variables, obsolete and unknown keys, old booleans', async () => {
  write({
    'compose.yaml':
      'version: "3"\nservices:\n  a:\n    image: "i:$TAG$TAG"\n    privileged: "yes"\n    enviroment: {}\n    x-mine: 1\nx-top: $OTHER\nvolumes: {v: {external: {name: w}}}\n',
  });
  const project = await load();
  assert.deepEqual(
    project.warnings.map((warning) => [warning.code, warning.position?.line]),
    [
      ['UNSET_VARIABLE', 4],
      ['YAML_BOOLEAN', 5],
      ['UNSET_VARIABLE', 8],
      ['OBSOLETE_KEY', undefined],
      ['EXTERNAL_NAME', undefined],
      ['UNKNOWN_KEY', 6],
    ],
  );
  assert.match(project.warnings.at(-1)?.message ?? '', /did you mean "environment"/);
  assert.equal(service(project, 'a').privileged, true);
  assert.equal(project.model['x-top'], '');
  assert.equal(project.model.version, undefined);
  assert.deepEqual((project.model.volumes as Mapping).v, { external: true, name: 'w' });
});

test('without interpolation the text stays', async () => {
  write({ 'compose.yaml': 'services: {a: {image: "i:${TAG:?x}", ports: ["${P}:80", "1:2"], privileged: "${X}", volumes: ["${V}:/v", "./b:/b"]}}' });
  const a = service(await load({ interpolate: false }), 'a');
  assert.equal(a.image, 'i:${TAG:?x}');
  assert.equal(a.privileged, '${X}');
  assert.deepEqual(a.ports, ['${P}:80', { mode: 'ingress', target: 2, published: '1', protocol: 'tcp' }]);
});

test('resolvedModel: env files, precedence, implied networks and dependencies', async () => {
  write({
    'compose.yaml': `
services:
  a:
    image: i
    env_file: [one.env, two.env, {path: none.env, required: false}, {path: raw.env, format: raw}]
    label_file: l.env
    labels: {own: "1"}
    environment: {OWN: own, PASS: , GONE: , OVER: own}
    links: ["b:x"]
  b: {image: i, networks: {default: {aliases: [y]}}}
  c: {image: i, network_mode: "service:a"}
  d: {image: i, network_mode: none}
volumes: {v: , e: {external: true}}
`,
    'one.env': 'ONE=1\nBOTH=one\nOVER=file\nFROM=${OUTER}\nFROMOWN=$OWN',
    'two.env': 'BOTH=two',
    'raw.env': 'RAW="$OUTER"',
    'l.env': 'own=file\nfile=1',
  });
  const project = await load({ environment: { OUTER: 'outer', PASS: 'passed' }, projectName: 'p' });
  const before = JSON.stringify(project);
  const model = await resolvedModel(project);
  assert.equal(JSON.stringify(project), before);
  const a = model.services.a as Mapping;
  assert.deepEqual(a.environment, {
    ONE: '1',
    BOTH: 'two',
    OVER: 'own',
    FROM: 'outer',
    FROMOWN: 'own',
    RAW: '"$OUTER"',
    OWN: 'own',
    PASS: 'passed',
    GONE: null,
  });
  assert.deepEqual(a.labels, { own: '1', file: '1' });
  assert.deepEqual(a.networks, { default: null });
  assert.deepEqual(a.depends_on, { b: { condition: 'service_started', restart: true, required: true } });
  assert.deepEqual((model.services.c as Mapping).depends_on, { a: { condition: 'service_started', restart: true, required: true } });
  assert.equal((model.services.d as Mapping).networks, undefined);
  assert.deepEqual(model.networks, { default: { name: 'p_default' } });
  assert.deepEqual(model.volumes, { v: { name: 'p_v' }, e: { external: true, name: 'e' } });
  rmSync(join(root, 'one.env'));
  await assert.rejects(resolvedModel(project), { code: 'COMPOSE_FILE_MISSING', message: /one\.env.*services\.a\.env_file\[0\].*compose\.yaml:5/ });
});
