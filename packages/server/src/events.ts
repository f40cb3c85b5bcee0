/** What a server reports while it works, as plain data: one event for each request that has ended. */

export interface ServerEvent {
  type: 'request';
  method: string;
  /** As sent, query included; printable ASCII, cut where it is very long. */
  path: string;
  /** 0 when the client left before the head of the answer. */
  status: number;
  /** Of the body. */
  sentBytes: number;
  durationMs: number;
  /** `1.1` or `2.0`. */
  httpVersion: string;
  /** Address of the client, or of the proxy before it. */
  client: string;
}

export type OnServerEvent = (event: ServerEvent) => void;
