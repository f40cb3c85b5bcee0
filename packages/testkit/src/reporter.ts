/**
 * Reporter of `npm test`: failures and skips in full, one line per package for what passed, the files that took longest,
 * coverage per package, and the test runner's own warnings and closing lines.
 */
import { AssertionError } from 'node:assert';
import { relative } from 'node:path';
import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

interface Count {
  pass: number;
  fail: number;
  skip: number;
  durationMs: number;
}

interface Covered {
  lines: number;
  coveredLines: number;
  branches: number;
  coveredBranches: number;
  functions: number;
  coveredFunctions: number;
}

/** Yields the text of a run. Used as `--test-reporter`. */
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string, void> {
  const packages = new Map<string, Count>();
  const files = new Map<string, number>();
  const skips = new Map<string, string[]>();
  const failures: string[] = [];
  const closing: string[] = [];
  let coverage: CoverageFile[] = [];
  for await (const event of source) {
    switch (event.type) {
      case 'test:pass':
      case 'test:fail': {
        const { data } = event;
        if (data.details.type === 'suite') break;
        const place = placeOf(data.file);
        const count = packages.get(place) ?? { pass: 0, fail: 0, skip: 0, durationMs: 0 };
        packages.set(place, count);
        if (data.nesting === 0) {
          count.durationMs += data.details.duration_ms;
          const file = relative(process.cwd(), data.file ?? '');
          files.set(file, (files.get(file) ?? 0) + data.details.duration_ms);
        }
        if (data.skip !== undefined) {
          count.skip += 1;
          const reason = typeof data.skip === 'string' ? data.skip : 'no reason given';
          skips.set(reason, [...(skips.get(reason) ?? []), `${data.name} (${place})`]);
        } else if (event.type === 'test:fail' && data.todo === undefined) {
          count.fail += 1;
          failures.push(failureText(data.name, data.file, event.data.details.error));
          // The whole story comes at the end, where people look.
          yield `✖ ${data.name} (${place})\n`;
        } else {
          count.pass += 1;
        }
        break;
      }
      case 'test:stderr':
      case 'test:stdout':
        yield event.data.message;
        break;
      case 'test:diagnostic':
        if (event.data.nesting !== 0) break;
        if (isClosing(event.data.message)) closing.push(event.data.message);
        else if (event.data.level !== 'info' || event.data.message.startsWith('Warning')) yield `${event.data.message}\n`;
        break;
      case 'test:coverage':
        coverage = event.data.summary.files;
        break;
    }
  }
  yield summaryTable(packages);
  yield slowestTable(files);
  for (const [reason, names] of skips) yield `skipped: ${reason}\n${names.map((name) => `  ${name}\n`).join('')}`;
  if (coverage.length > 0) yield coverageTable(coverage);
  if (failures.length > 0) yield `\n${failures.length} failed:\n${failures.join('')}`;
  yield `\n${closing.map((line) => `ℹ ${line}\n`).join('')}`;
}

type CoverageFile = Extract<TestEvent, { type: 'test:coverage' }>['data']['summary']['files'][number];

const CLOSING = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) /;

function isClosing(message: string): boolean {
  return CLOSING.test(message);
}

/** The package that a path belongs to, or its folder. */
function placeOf(file: string | undefined): string {
  const path = relative(process.cwd(), file ?? '');
  return /^packages\/([^/]+)\//.exec(path)?.[1] ?? path.split('/')[0] ?? '';
}

function failureText(name: string, file: string | undefined, error: Error & { cause?: unknown }): string {
  const cause = error.cause instanceof Error ? error.cause : (error.cause ?? error);
  // What an assertion compared is in its message already.
  const text = cause instanceof AssertionError ? (cause.stack ?? cause.message) : cause instanceof Error ? inspect(cause, { depth: 4 }) : String(cause);
  return `✖ ${name} (${relative(process.cwd(), file ?? '')})\n${text.replace(/^/gm, '    ')}\n`;
}

function summaryTable(packages: ReadonlyMap<string, Count>): string {
  const rows = [...packages]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([place, count]) => [place, String(count.pass), String(count.fail), String(count.skip), (count.durationMs / 1000).toFixed(1)]);
  return table(['package', 'pass', 'fail', 'skip', 'seconds'], rows);
}

const SLOWEST = 10;

function slowestTable(files: ReadonlyMap<string, number>): string {
  const rows = [...files]
    .sort(([, a], [, b]) => b - a)
    .slice(0, SLOWEST)
    .map(([file, durationMs]) => [file, (durationMs / 1000).toFixed(1)]);
  return table(['longest', 'seconds'], rows);
}

function coverageTable(files: readonly CoverageFile[]): string {
  const packages = new Map<string, Covered>();
  const add = (place: string, file: CoverageFile): void => {
    const sum = packages.get(place) ?? { lines: 0, coveredLines: 0, branches: 0, coveredBranches: 0, functions: 0, coveredFunctions: 0 };
    sum.lines += file.totalLineCount;
    sum.coveredLines += file.coveredLineCount;
    sum.branches += file.totalBranchCount;
    sum.coveredBranches += file.coveredBranchCount;
    sum.functions += file.totalFunctionCount;
    sum.coveredFunctions += file.coveredFunctionCount;
    packages.set(place, sum);
  };
  for (const file of [...files].sort((a, b) => (a.path < b.path ? -1 : 1))) add(placeOf(file.path), file);
  for (const file of files) add('all', file);
  const percent = (part: number, whole: number): string => (whole === 0 ? '-' : ((100 * part) / whole).toFixed(1));
  const rows = [...packages].map(([place, sum]) => [
    place,
    percent(sum.coveredLines, sum.lines),
    percent(sum.coveredBranches, sum.branches),
    percent(sum.coveredFunctions, sum.functions),
  ]);
  return table(['coverage', 'lines %', 'branches %', 'functions %'], rows);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd();
  return `\n${[line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')}\n`;
}
