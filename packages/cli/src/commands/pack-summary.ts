/** What `cambium pack` says at its end. */
import type { PackedImage, PackResult } from '@cambium/compose';
import { formatBytes, formatCount } from '../progress.ts';
import type { Ui } from '../ui.ts';

export interface SummaryContext {
  /** The compose file as the user named it. */
  compose: string;
  seconds: number;
  ui: Ui;
}

/** Prints the checksum (or the plan, in a dry run) on stdout and what was done on stderr. */
export function printPackSummary(result: PackResult, context: SummaryContext): void {
  const { ui, compose, seconds } = context;
  if (ui.json) {
    ui.resultJson({ ...result, seconds: Number(seconds.toFixed(3)) });
    return;
  }
  fileNotes(result, ui);
  if (result.dryRun) {
    const lines = imageLines(result.images, 'to fetch');
    for (const [i, image] of result.images.entries()) ui.result(`${lines[i]}, ${about(image.estimatedWriteBytes)} to write`);
    const total = `${formatBytes(result.fetchBytes)} to fetch, ${about(result.estimatedWriteBytes)} to write`;
    ui.result(`Total: ${total} for ${formatCount(result.images.length, 'image')} and the app's own files`);
    return;
  }
  for (const image of result.images) {
    for (const entry of image.skipped) ui.detail(`left out of ${image.reference}: ${entry.kind} ${entry.path}`);
    if (image.skipped.length > 0)
      ui.note(`${image.reference}: ${formatCount(image.skipped.length, 'special file')} left out${ui.verbose ? '' : ' (--verbose lists them)'}`);
  }
  for (const line of imageLines(result.images, 'fetched')) ui.note(line);
  const { stats } = result;
  if (stats !== undefined) {
    const total = stats.contentTotal + stats.metadataTotal;
    const written = stats.contentWritten + stats.metadataWritten;
    ui.note(`Objects: ${written} new, ${total - written} shared; ${formatBytes(stats.storedBytesWritten)} written`);
  }
  ui.note(`${formatBytes(result.fetchBytes)} fetched in ${seconds.toFixed(1)} s`);
  ui.note(result.unchanged ? `unchanged: ${result.branch} holds ${result.app} as it is` : `Imported ${compose} to ${result.branch}`);
  if (result.commit !== undefined) ui.result(result.commit);
}

/** What travels and what does not: nobody should find out on the device, or from somebody else's checkout. */
function fileNotes(result: PackResult, ui: Ui): void {
  for (const { path, reason } of result.leftOut) ui.note(`Left out: ${path} (${reason}${reason === 'secret' ? '; --include-secrets packs it' : ''})`);
  for (const { path } of result.hostPaths) ui.note(`Must exist on the device: ${path}`);
  if (result.variableFiles.length > 0) ui.note(`Packed as they are, readable by all who read the repository: ${result.variableFiles.join(', ')}`);
  if (result.variables.length === 0) return;
  const names = result.variables.join(', ');
  if (result.composeForm === 'resolved') ui.note(`The packed compose file holds the values of ${names}`);
  else ui.note(`Not packed: the values of ${names}; the packed compose file takes them from the environment of the device`);
}

/** Nothing is exact; the rest depends on what the layers have in common with what is there. */
function about(bytes: number): string {
  return bytes === 0 ? formatBytes(0) : `about ${formatBytes(bytes)}`;
}

function imageLines(images: readonly PackedImage[], verb: string): string[] {
  const width = Math.max(0, ...images.map((image) => image.reference.length));
  return images.map((image) => {
    const known = image.layers.filter((layer) => layer.known).length;
    const layers = `${formatCount(image.layers.length, 'layer')}, ${known} known`;
    return `${image.reference.padEnd(width)}  ${layers.padEnd(20)}  ${formatBytes(image.fetchBytes)} ${verb}`;
  });
}
