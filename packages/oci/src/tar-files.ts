import type { ImageFiles } from './image-files.ts';
export async function openTarFiles(path: string, _signal?: AbortSignal): Promise<ImageFiles> {
  throw new Error(`not yet: ${path}`);
}
