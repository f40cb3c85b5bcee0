/** What a merged model refers to outside itself: images, local files, build contexts. */
import { compareUtf8, isRecord } from '@cambium/base';
import type { Session } from './context.ts';
import { type Path, pathText } from './path.ts';
import type { BuildContext, ImageUse, LocalFile, LocalFileKind, Mapping, Model } from './types.ts';
import { listOf } from './validate.ts';

/** Calls back for every image reference of the model. */
export function eachImage(model: Model, visit: (service: string, reference: string, path: Path, holder: Mapping, key: string) => void): void {
  for (const [name, service] of Object.entries(model.services)) {
    const path: Path = ['services', name];
    if (typeof service.image === 'string' && service.image !== '') visit(name, service.image, [...path, 'image'], service, 'image');
    listOf(service.volumes).forEach((entry, i) => {
      if (isRecord(entry) && entry.type === 'image' && typeof entry.source === 'string')
        visit(name, entry.source, [...path, 'volumes', i, 'source'], entry, 'source');
    });
    listOf(service.pre_start).forEach((entry, i) => {
      if (isRecord(entry) && typeof entry.image === 'string') visit(name, entry.image, [...path, 'pre_start', i, 'image'], entry, 'image');
    });
  }
}

/** Returns one entry per reference and platform, sorted. */
export function imagesOf(model: Model): ImageUse[] {
  const uses = new Map<string, ImageUse>();
  eachImage(model, (service, reference, path) => {
    const wanted = model.services[service]?.platform;
    const platform = typeof wanted === 'string' && wanted !== '' ? wanted : undefined;
    const key = `${reference}\0${platform ?? ''}`;
    const use = uses.get(key) ?? { reference, services: [], ...(platform === undefined ? {} : { platform }), paths: [] };
    if (!use.services.includes(service)) use.services.push(service);
    use.paths.push(path);
    uses.set(key, use);
  });
  for (const use of uses.values()) use.services.sort(compareUtf8);
  return [...uses.entries()].sort(([a], [b]) => compareUtf8(a, b)).map(([, use]) => use);
}

/** Calls back for every local path of the model, with the object that holds it. */
export function eachLocalPath(
  model: Model,
  visit: (kind: LocalFileKind, path: Path, holder: Mapping | unknown[], key: string | number, required: boolean) => void,
): void {
  for (const [name, service] of Object.entries(model.services)) {
    const path: Path = ['services', name];
    listOf(service.env_file).forEach((entry, i) => {
      if (isRecord(entry)) visit('env_file', [...path, 'env_file', i], entry, 'path', entry.required !== false);
    });
    const labelFiles = listOf(service.label_file);
    for (const i of labelFiles.keys()) visit('label_file', [...path, 'label_file', i], labelFiles, i, true);
    listOf(service.volumes).forEach((entry, i) => {
      if (!isRecord(entry) || entry.type !== 'bind') return;
      const created = isRecord(entry.bind) && entry.bind.create_host_path !== false;
      visit('bind', [...path, 'volumes', i], entry, 'source', !created);
    });
  }
  for (const [section, kind] of [
    ['configs', 'config'],
    ['secrets', 'secret'],
  ] as const) {
    for (const [name, entry] of Object.entries((model[section] ?? {}) as Record<string, unknown>)) {
      if (isRecord(entry) && typeof entry.file === 'string') visit(kind, [section, name, 'file'], entry, 'file', true);
    }
  }
  for (const [name, entry] of Object.entries((model.volumes ?? {}) as Record<string, unknown>)) {
    const options = isRecord(entry) ? entry.driver_opts : undefined;
    if (isRecord(options) && typeof options.device === 'string' && /(?:^|,)r?bind(?:,|$)/.test(String(options.o ?? ''))) {
      visit('bind', ['volumes', name, 'driver_opts', 'device'], options, 'device', true);
    }
  }
}

export function localFilesOf(model: Model, session: Session): LocalFile[] {
  const files: LocalFile[] = [];
  eachLocalPath(model, (kind, path, holder, key, required) => {
    const target = String((holder as Mapping)[key as string]);
    const written = session.written.get(`${kind} ${target}`);
    const position = written?.position ?? session.position(path);
    files.push({ kind, path: target, written: written?.text ?? target, required, key: pathText(path), ...(position === undefined ? {} : { position }) });
  });
  return [...session.localFiles, ...files];
}

export function buildContextsOf(model: Model): BuildContext[] {
  const contexts: BuildContext[] = [];
  for (const [service, value] of Object.entries(model.services)) {
    if (!isRecord(value.build)) continue;
    contexts.push({ service, path: String(value.build.context ?? '.'), key: pathText(['services', service, 'build', 'context']) });
    for (const [name, context] of Object.entries(isRecord(value.build.additional_contexts) ? value.build.additional_contexts : {})) {
      contexts.push({ service, path: String(context), key: pathText(['services', service, 'build', 'additional_contexts', name]) });
    }
  }
  return contexts;
}
