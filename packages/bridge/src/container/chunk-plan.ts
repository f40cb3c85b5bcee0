/**
 * Which components share a layer, as ostree-ext packs them: large ones alone, others by how often they change, and a bin for what
 * comes later. Equal input gives equal bins; with the layers of a previous image they stay where they were.
 */
import { bridgeError } from '../errors.ts';
import { ALWAYS_CHANGES, type Component } from './components.ts';

/** Default number of chunk layers, the last one kept empty. */
export const MAX_LAYERS = 64;
const LEAST_LAYERS = 4;
const HIGH_SIZE_SHARE = 0.6;
/** How many deviations from the middle are far. */
const FAR = 2;

/**
 * Returns the bins, in the order of the layers; the last one is for components that come later.
 *
 * @param previous the names of the components in each chunk layer of the previous image, in its order
 * @throws BRIDGE_LAYERS_TOO_FEW
 */
export function packComponents(components: readonly Component[], layers: number, previous?: readonly (readonly string[])[]): Component[][] {
  if (layers < LEAST_LAYERS) {
    throw bridgeError('BRIDGE_LAYERS_TOO_FEW', `Cannot pack into ${layers} layers: it takes at least ${LEAST_LAYERS}`, { data: { least: LEAST_LAYERS } });
  }
  const sorted = components.toSorted((a, b) => b.size - a.size || (a.identifier < b.identifier ? -1 : 1));
  const kept = previous === undefined ? undefined : keepBins(sorted, layers, previous);
  if (kept !== undefined) return kept;
  if (sorted.length === 0) return [];
  if (sorted.length < layers) return [...sorted.map((component) => [component]), []];
  return packAnew(sorted, layers);
}

/** Returns the bins of before with what is left in them, and what is new in the last; undefined when there are too many. */
function keepBins(components: readonly Component[], layers: number, previous: readonly (readonly string[])[]): Component[][] | undefined {
  // Two of one name, as those of two architectures, stay together.
  const byName = new Map<string, Component[]>();
  for (const component of components) byName.set(component.name, [...(byName.get(component.name) ?? []), component]);
  const seen = new Set<string>();
  const bins = previous.map((names) =>
    names.flatMap((name) => {
      if (seen.has(name)) return [];
      seen.add(name);
      return byName.get(name) ?? [];
    }),
  );
  const last = bins.pop() ?? [];
  const added = [...byName.keys()].filter((name) => !seen.has(name)).sort();
  last.push(...added.flatMap((name) => byName.get(name) as Component[]));
  const kept = [...bins.filter((bin) => bin.length > 0), last];
  return kept.length > layers ? undefined : kept;
}

function packAnew(components: readonly Component[], layers: number): Component[][] {
  const always = components.filter((component) => component.changeFrequency === ALWAYS_CHANGES);
  const others = components.filter((component) => component.changeFrequency !== ALWAYS_CHANGES);
  const alwaysBins = Math.min(1, always.length);
  // One for small components, one for what comes later.
  const fixed = 2 + alwaysBins;
  const highBins = Math.floor(Math.fround(Math.fround(HIGH_SIZE_SHARE) * (layers - fixed)));
  const mediumBins = layers - highBins - fixed;
  const { high, low, medium } = partition(others, highBins);
  const perBin = Math.max(1, Math.floor((others.length - highBins - low.length) / mediumBins));
  const bins: Component[][] = others.length === 0 ? [] : [...high.map((component) => [component]), low];
  for (const part of medium) for (let at = 0; at < part.length; at += perBin) bins.push(part.slice(at, at + perBin));

  const most = layers - 1 - alwaysBins;
  for (let before = 0; bins.length > most && bins.length !== before; ) {
    before = bins.length;
    for (let i = bins.length - 2; i >= 1 + highBins && bins.length > most; i -= 2) {
      const merged = bins.splice(i - 1, 2).flat();
      bins.splice(i, 0, merged);
    }
  }
  // Few large components: what is left over goes together, where the order above has nothing to merge.
  while (bins.length > most) bins.push(bins.splice(-2).flat());
  if (always.length > 0) bins.push(always);
  return [...bins, []];
}

/** Sorts components by size, and those of medium size by frequency and size again. */
function partition(components: readonly Component[], highBins: number): { high: Component[]; low: Component[]; medium: Component[][] } {
  const high: Component[] = [];
  const low: Component[] = [];
  const middle: Component[] = [];
  const { median, deviation } = spread(components.map(({ size }) => size));
  const sizeOf = classes(median, deviation);
  for (const component of components) ({ high, low, middle })[sizeOf(component.size)].push(component);
  // What is large but has no bin left comes before the rest: both are sorted by size.
  const rest = [...high.splice(highBins), ...middle].sort((a, b) => a.changeFrequency - b.changeFrequency);
  const frequencyOf = classes(...meanAndDeviation(rest.map(({ changeFrequency }) => changeFrequency)));
  const restSizeOf = classes(...meanAndDeviation(rest.map(({ size }) => size)));
  const parts = new Map<string, Component[]>();
  for (const component of rest) {
    const frequency = { high: '3hf', middle: '4mf', low: '5lf' }[frequencyOf(component.changeFrequency)];
    const size = { high: 'hs', middle: 'ms', low: 'ls' }[restSizeOf(component.size)];
    const key = `${frequency}_${size}`;
    parts.set(key, [...(parts.get(key) ?? []), component]);
  }
  return { high, low, medium: [...parts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, part]) => part) };
}

function classes(middle: number, deviation: number): (value: number) => 'high' | 'low' | 'middle' {
  const high = middle + FAR * deviation;
  const low = 0.5 * Math.abs(middle - FAR * deviation);
  return (value) => (value >= high ? 'high' : value <= low ? 'low' : 'middle');
}

/** Returns the median, and the median of the distances from it. */
function spread(values: readonly number[]): { median: number; deviation: number } {
  const median = medianOf(values);
  return { median, deviation: medianOf(values.map((value) => Math.abs(value - median))) };
}

function medianOf(values: readonly number[]): number {
  if (values.length === 0) return 0;
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[half] as number) : ((sorted[half - 1] as number) + (sorted[half] as number)) / 2;
}

/** Returns the mean and the standard deviation of a whole population. */
function meanAndDeviation(values: readonly number[]): [mean: number, deviation: number] {
  if (values.length === 0) return [0, 0];
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return [mean, Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)];
}

/** What a layer of these components is called. */
export function chunkName(components: readonly Component[]): string {
  if (components.length === 0) return 'Reserved for new packages';
  if (components.length > 5) return `${components.length} components`;
  return components.map(({ identifier }) => identifier).join(' and ');
}
