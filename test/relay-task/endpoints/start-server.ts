import type { Socket } from 'node:net';
import { createEvaluationLines, type EvaluationLines } from '../../../relay-task/common/evaluation-lines.ts';
import { createRelayServer, type RelayServer, type RelayServerOptions } from '../../../relay-task/endpoints/server.ts';
import type { Found, Health, ServedEnvironment } from '../../../relay-task/endpoints/services.ts';
import type { CredentialKind, Log, StreamOpening } from '../../../relay-task/ports.ts';
import { createHub, type EnvironmentStreams, type Hub, type HubOptions } from '../../../relay-task/streams/hub.ts';
import { hubSettings } from '../../support/hub-settings.ts';
import { createEmptyMemory, type Memory } from '../../support/memory.ts';
import { createTestEnvironment, type TestEnvironment } from './served-environment.ts';

export interface TestServer {
  readonly port: number;
  readonly server: RelayServer;
  readonly hub: Hub;
  readonly evaluations: EvaluationLines;
  readonly view: TestEnvironment['view'];
  readonly streams: EnvironmentStreams;
  readonly environment: TestEnvironment;
  readonly logged: string[];
  readonly answers: { route: string; method: string; status: number; environment: string | undefined }[];
  /** Opened streams of the kinds that have no hub in this test. */
  readonly opened: { readonly socket: Socket; readonly opening: StreamOpening }[];
  get(path: string, init?: RequestInit): Promise<Response>;
  close(): Promise<void>;
}

export interface TestServerOptions {
  readonly view?: Memory;
  readonly hub?: Partial<HubOptions>;
  readonly server?: Partial<RelayServerOptions>;
  readonly health?: Partial<Health>;
  readonly evaluations?: EvaluationLines;
  /** Instead of one environment with `sdk-key`, `mob-key` and the client-side ID `64a0`. */
  find?(kind: CredentialKind, credential: string, filter: string, environment: ServedEnvironment): Found;
}

/**
 * A real server on a free port, with one environment in memory. Server SDK streams come from a real hub. Other streams send
 * one event with their opening, then one event for each piece of data that they receive.
 */
export async function startServer(options: TestServerOptions = {}): Promise<TestServer> {
  const environment = createTestEnvironment(options.view ?? createEmptyMemory());
  const { view } = environment;
  const keys: Record<CredentialKind, string> = { sdkKey: 'sdk-key', mobileKey: 'mob-key', environmentId: '64a0' };
  const hub = createHub({ ...hubSettings, ...options.hub });
  const source = { ...environment, view, environmentId: () => environment.environmentId };
  const streams = hub.environment(source);
  const logged: string[] = [];
  const answers: TestServer['answers'] = [];
  const opened: TestServer['opened'] = [];
  const write = (message: string, fields?: Record<string, unknown>) =>
    void logged.push(`${message} ${String(fields?.error)}`);
  const log: Log = { debug: write, info: write, warn: write, error: write };
  const { evaluations = createEvaluationLines() } = options;
  const server = createRelayServer({
    maxContextBytes: 256 * 1024,
    maxInboundPayloadBytes: 10 * 1024 * 1024,
    evaluations,
    find(kind, credential, filter) {
      if (options.find) return options.find(kind, credential, filter, environment);
      if (credential !== keys[kind]) return 'unknown-credential';
      return filter === '' ? { environment } : 'unknown-filter';
    },
    openStream(_environment, socket, opening) {
      if (opening.kind === 'all' || opening.kind === 'flags') return streams.open(socket, opening);
      opened.push({ socket, opening });
      tell(socket, opening);
      return undefined;
    },
    health: {
      status: () => ['{"status":', '"healthy"}'],
      *environmentStatus(identifier) {
        yield;
        return identifier === 'production' ? { status: 'connected' } : undefined;
      },
      readiness: () => ({ ready: true, waitingFor: [] }),
      ...options.health,
    },
    answered: (answer) => void answers.push(answer),
    log,
    ...options.server,
  });
  const { port } = await server.listen({ port: 0, host: '127.0.0.1' });
  return {
    port,
    server,
    hub,
    evaluations,
    view,
    streams,
    environment,
    logged,
    answers,
    opened,
    get: (path, init) => fetch(`http://127.0.0.1:${port}${path}`, { redirect: 'manual', ...init }),
    async close() {
      for (const { socket } of opened) socket.destroy();
      const closed = server.close(500);
      await hub.closeAll(0);
      await closed;
    },
  };
}

function tell(socket: Socket, opening: StreamOpening): void {
  const headers = Object.entries(opening.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
  const write = (name: string, data: unknown) => socket.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  socket.on('error', () => {});
  socket.on('data', (bytes) => write('heard', bytes.toString()));
  socket.write(`HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n${headers.join('')}\r\n`);
  write('opening', opening);
  socket.resume();
}
