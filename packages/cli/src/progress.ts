/**
 * Progress, drawn from the events that operations report: one line on a terminal, nothing elsewhere,
 * or every event as a line of JSON.
 */
import { isKnownError } from '@cambium/base';

/** `auto` is `line` on a terminal and `none` elsewhere. */
export type ProgressMode = 'auto' | 'line' | 'json' | 'none';

export const PROGRESS_MODES: readonly ProgressMode[] = ['auto', 'line', 'json', 'none'];

/** What the line shows. `total` is absent while it is not known. */
export interface ProgressStatus {
  readonly what: string;
  readonly done: number;
  readonly total?: number | undefined;
  readonly unit: 'bytes' | 'count';
  /** What is being worked on now. */
  readonly detail?: string;
}

export interface Progress {
  /** Whether anyone looks: what only they want to know need not be found out otherwise. */
  readonly isShown: boolean;
  /** Returns a callback for an operation: JSON mode prints each event, a terminal shows what `describe` makes of it. */
  watch<E extends { readonly type: string }>(describe: (event: E) => ProgressStatus | undefined): (event: E) => void;
  /** Removes the line, so that something else can be printed. */
  clear(): void;
  end(): void;
}

export interface ProgressOptions {
  mode: ProgressMode;
  isTerminal: boolean;
  write(text: string): void;
  columns?: () => number;
  nowMs?: () => number;
}

/** A terminal is redrawn at most this often; drawing each of 50,000 objects would cost more than fetching them. */
const REDRAW_MS = 100;
const CLEAR_LINE = '\r\u001b[K';

export function createProgress(options: ProgressOptions): Progress {
  const mode = options.mode === 'auto' ? (options.isTerminal ? 'line' : 'none') : options.mode;
  const nowMs = options.nowMs ?? (() => performance.now());
  const columns = options.columns ?? (() => process.stderr.columns ?? 80);
  let drawn = false;
  let drawnAtMs = Number.NEGATIVE_INFINITY;
  const clear = (): void => {
    if (drawn) options.write(CLEAR_LINE);
    drawn = false;
    drawnAtMs = Number.NEGATIVE_INFINITY;
  };
  return {
    isShown: mode !== 'none',
    watch: (describe) => (event) => {
      if (mode === 'json') options.write(toJsonLine(event));
      if (mode !== 'line') return;
      // Every event is described, because the description counts; only drawing is limited.
      const status = describe(event);
      const now = nowMs();
      if (status === undefined || now - drawnAtMs < REDRAW_MS) return;
      options.write(CLEAR_LINE + renderStatus(status).slice(0, Math.max(20, columns() - 1)));
      drawn = true;
      drawnAtMs = now;
    },
    clear,
    end: clear,
  };
}

export function renderStatus(status: ProgressStatus): string {
  const show = status.unit === 'bytes' ? formatBytes : String;
  const amount = status.total === undefined ? show(status.done) : `${show(status.done)} of ${show(status.total)}`;
  const percent = status.total === undefined || status.total === 0 ? '' : ` ${Math.floor((100 * Math.min(status.done, status.total)) / status.total)}%`;
  return `${status.what}: ${amount}${percent}${status.detail === undefined ? '' : `  ${status.detail}`}`;
}

/** Returns a size for people, in powers of 1000 as disks and networks are sold. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB', 'TB', 'PB'];
  let value = bytes;
  let unit = 'B';
  for (const next of units) {
    // 999,950 rounds to 1000.0: it belongs to the next unit.
    if (Math.round(value * 10) / 10 < 1000) break;
    value /= 1000;
    unit = next;
  }
  return `${value.toFixed(1)} ${unit}`;
}

/** Returns `1 image`, `2 images`. */
export function formatCount(amount: number, noun: string): string {
  return `${amount} ${noun}${amount === 1 ? '' : 's'}`;
}

/** Returns one line of JSON; big integers become numbers, errors keep code and message. */
export function toJsonLine(value: unknown): string {
  return `${JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === 'bigint') return Number(item);
    if (isKnownError(item)) return { code: item.code, kind: item.kind, message: item.message, hint: item.hint, retryable: item.retryable };
    if (item instanceof Error) return { message: item.message };
    return item;
  })}\n`;
}
