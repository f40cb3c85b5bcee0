/**
 * One answer on its way from the parser to its reader, without a stream: most files of a repository are a kilobyte, and a
 * stream of one costs more than asking for it. A short body is handed over whole, a longer one in pieces with back-pressure.
 */
import type { Bytes } from '@cambium/base';
import type { Dispatcher } from 'undici';
import type { Pace, SlowWatch } from './low-speed.ts';
import { answerInvalid } from './network-errors.ts';

type Controller = Dispatcher.DispatchController;
type Headers = Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>[2];

/** Bodies that are announced to be at most this long are handed over whole. */
const WHOLE_BYTES: number = 256 * 1024;
/** A body whose reader takes its time is held up when so much of it waits. */
const QUEUED_BYTES: number = 128 * 1024;
/** Of a body that nobody wants: more than this costs more than another connection. */
const DISCARD_BYTES: number = 64 * 1024;

/** As undici. */
const LENGTH_MISMATCH = 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH';

export interface AnswerOptions {
  watch: SlowWatch | undefined;
  url: URL;
  method: string;
  /** Called when no more will come. */
  ended: (failed: boolean) => void;
}

/** A handler of one request, and what has come of the answer. */
export class Answer implements Dispatcher.DispatchHandler {
  status = 0;
  headers: Headers = {};
  /** The body, if it was short. */
  whole: Uint8Array | undefined;
  readonly #options: AnswerOptions;
  readonly #head: PromiseWithResolvers<Answer> = Promise.withResolvers();
  #controller: Controller | undefined;
  /** Bytes that a whole body will have. */
  #wanted = -1;
  #seen = 0;
  #chunks: Uint8Array[] = [];
  #queuedBytes = 0;
  #wake: (() => void) | undefined;
  #discarding = false;
  #ended = false;
  #failure: { error: unknown } | undefined;
  #pace: Pace | undefined;

  constructor(options: AnswerOptions) {
    this.#options = options;
  }

  /** Resolves when the head is there, and with it a short body. */
  get head(): Promise<Answer> {
    return this.#head.promise;
  }

  /** Ends the exchange from this side. */
  abort(error: Error): void {
    if (this.#ended) return;
    this.#fail(error);
    this.#controller?.abort(error);
  }

  /** Lets go of the body; a short rest is read so that the connection can be used again. */
  discard(): void {
    if (this.#ended) return;
    this.#discarding = true;
    this.#chunks = [];
    const announced = announcedBytes(this.headers);
    if (announced !== undefined && announced - this.#seen > DISCARD_BYTES) this.abort(new Error('The body is not wanted'));
    else this.#controller?.resume();
  }

  /** Gives the body, once. */
  async *body(): Bytes {
    if (this.whole !== undefined) {
      if (this.whole.byteLength > 0) yield this.whole;
      return;
    }
    try {
      for (;;) {
        const chunk = this.#chunks.shift();
        if (chunk !== undefined) {
          this.#queuedBytes -= chunk.byteLength;
          if (this.#queuedBytes === 0) this.#controller?.resume();
          yield chunk;
        } else if (this.#failure !== undefined) throw this.#failure.error;
        else if (this.#ended) return;
        else await this.#more();
      }
    } finally {
      // A reader that leaves early.
      this.abort(new Error('The body is not wanted'));
    }
  }

  onRequestStart(controller: Controller): void {
    this.#controller = controller;
    // Aborted while it waited for a connection.
    if (this.#failure !== undefined) controller.abort(this.#failure.error as Error);
  }

  onResponseStart(_controller: Controller, status: number, headers: Headers): void {
    if (status < 200) return;
    this.status = status;
    this.headers = headers;
    const announced = announcedBytes(headers);
    if (announced !== undefined && announced <= WHOLE_BYTES) {
      this.#wanted = announced;
      this.#pace = this.#options.watch?.begin((error) => this.abort(error), this.#options.url);
    } else this.#head.resolve(this);
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#ended) return;
    const end = this.#seen + chunk.byteLength;
    this.#pace?.add(chunk.byteLength);
    if (this.#discarding) {
      if (end > DISCARD_BYTES) this.abort(new Error('The body is not wanted'));
    } else if (this.#wanted < 0) {
      this.#chunks.push(chunk);
      this.#queuedBytes += chunk.byteLength;
      if (this.#queuedBytes > QUEUED_BYTES) controller.pause();
      this.#wake?.();
    } else if (end > this.#wanted) this.abort(new LengthMismatch());
    else if (chunk.byteLength === this.#wanted) this.whole = chunk;
    else {
      this.whole ??= Buffer.allocUnsafeSlow(this.#wanted);
      this.whole.set(chunk, this.#seen);
    }
    this.#seen = end;
  }

  onResponseEnd(): void {
    if (this.#ended) return;
    if (this.#seen < this.#wanted && hasBody(this.#options.method, this.status)) return this.#fail(new LengthMismatch());
    this.#close(false);
    if (this.#wanted >= 0) {
      this.whole ??= new Uint8Array(0);
      this.#head.resolve(this);
    }
    this.#wake?.();
  }

  onResponseError(_controller: Controller, error: Error): void {
    // Before there is a head no body can have a wrong length: undici says this of heads whose parser did not get over the length (RFC 9112,
    // section 6.3: given twice, beside chunks, not a number). Where such a body ends is anybody's guess, and another try would bring the same.
    if (this.status === 0 && 'code' in error && error.code === LENGTH_MISMATCH) {
      this.#fail(answerInvalid(this.#options.url, 'its head contradicts itself about the length of the body', { cause: error }));
    } else this.#fail(error);
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    this.#failure = { error };
    this.#close(true);
    if (this.#wanted >= 0) {
      // What came of a short body is its reader's, who may know how to go on from there.
      if (this.#seen > 0 && this.whole !== undefined) this.#chunks = [this.whole.subarray(0, this.#seen)];
      this.whole = undefined;
      this.#head.resolve(this);
    }
    // Without effect when the head has been handed over: then the reader of the body hears of it.
    this.#head.reject(error);
    this.#wake?.();
  }

  #close(failed: boolean): void {
    this.#ended = true;
    this.#pace?.end();
    this.#options.ended(failed);
  }

  /** Waits for a piece, the end or a failure. Only this time counts against the server. */
  async #more(): Promise<void> {
    this.#pace ??= this.#options.watch?.begin((error) => this.abort(error), this.#options.url);
    this.#pace?.wait();
    try {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    } finally {
      this.#wake = undefined;
      this.#pace?.rest();
    }
  }
}

/** A body that is not as long as its head said. */
class LengthMismatch extends Error {
  readonly code = LENGTH_MISMATCH;
}

/** Whether the length in a head is that of a body that follows. */
function hasBody(method: string, status: number): boolean {
  return method !== 'HEAD' && status !== 204 && status !== 304;
}

function announcedBytes(headers: Headers): number | undefined {
  const text = headers['content-length'];
  return typeof text === 'string' && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
