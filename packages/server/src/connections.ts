/** Ends a server in good order: what runs may come to its end, what is idle goes at once. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Http2SecureServer, ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';

export interface Connections {
  /** Takes note of a request; its end is seen on the response. */
  began(request: IncomingMessage, response: ServerResponse): void;
  /** Stops listening and resolves when the last connection has ended, at the latest after `graceMs`. */
  close(graceMs: number): Promise<void>;
}

export function trackConnections(server: Server | Http2SecureServer, secure: boolean): Connections {
  /** With how many requests under way; of HTTP/2 the sessions keep count. */
  const sockets = new Map<Socket, number>();
  const sessions = new Set<ServerHttp2Session>();
  let closing = false;
  const remember = (socket: Socket): void => {
    sockets.set(socket, 0);
    socket.once('close', () => sockets.delete(socket));
  };
  const raw = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    raw.add(socket);
    socket.once('close', () => raw.delete(socket));
  });
  server.on(secure ? 'secureConnection' : 'connection', remember);
  server.on('session', (session: ServerHttp2Session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    // What breaks a session is the client's business.
    session.on('error', () => undefined);
  });

  return {
    began(request, response) {
      if (request.httpVersion === '2.0') return;
      const { socket } = request;
      sockets.set(socket, (sockets.get(socket) ?? 0) + 1);
      if (closing) response.setHeader('connection', 'close');
      response.once('close', () => {
        const left = (sockets.get(socket) ?? 1) - 1;
        if (sockets.has(socket)) sockets.set(socket, left);
        if (closing && left === 0) socket.destroySoon();
      });
    },
    async close(graceMs) {
      closing = true;
      const ended = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.close();
      for (const [socket, requests] of sockets) if (requests === 0 && !isHttp2(socket)) socket.destroySoon();
      const timer = setTimeout(() => {
        for (const socket of raw) socket.destroy();
      }, graceMs);
      await ended;
      clearTimeout(timer);
    },
  };
}

function isHttp2(socket: Socket): boolean {
  return 'alpnProtocol' in socket && socket.alpnProtocol === 'h2';
}
