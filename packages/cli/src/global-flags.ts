/** Flags that every command of Cambium's own takes; they may stand before or after the command. */
export const GLOBAL_FLAGS = {
  json: { kind: 'flag', help: 'Print the result as JSON' },
  quiet: { kind: 'flag', short: 'q', help: 'Print the result, warnings and failures only' },
  verbose: { kind: 'flag', short: 'v', help: 'Tell more: details of the work, causes of failures' },
  progress: {
    kind: 'text',
    value: 'MODE',
    help: 'How to show progress: auto (a line on a terminal), line, json (each event as a line of JSON on stderr) or none',
  },
} as const;
