/** SIGINT and SIGTERM end an operation in good order; a second one ends the process at once. */
import { baseError } from '@cambium/base';

export interface Interruption {
  readonly signal: AbortSignal;
  /** 130 or 143 once a signal has come. */
  status(): number | undefined;
  dispose(): void;
}

const STATUS = { SIGINT: 130, SIGTERM: 143 } as const;

export function listenForSignals(): Interruption {
  const controller = new AbortController();
  let status: number | undefined;
  const dispose = (): void => {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  };
  const onSignal = (name: NodeJS.Signals): void => {
    status = STATUS[name as keyof typeof STATUS];
    // Without our handlers the next signal has the system's effect.
    dispose();
    controller.abort(baseError('OPERATION_ABORTED', `Interrupted by ${name}`));
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return { signal: controller.signal, status: () => status, dispose };
}
