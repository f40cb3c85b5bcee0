/** What a transport reports while it works, for `--verbose`: plain data without credentials. */

export type HttpEvent =
  /** One exchange; `url` has no query, because signed URLs carry secrets there. */
  { type: 'request'; method: string; url: string; status: number } | { type: 'retry'; url: string; attempt: number; delayMs: number; reason: string };

export type OnHttpEvent = (event: HttpEvent) => void;
