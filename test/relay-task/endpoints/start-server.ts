import { createRelayServer, type RelayServer, type RelayServerOptions } from '../../../relay-task/endpoints/server.ts';
import type { Found, Health, ServedEnvironment } from '../../../relay-task/endpoints/services.ts';
import type { CredentialKind, Log } from '../../../relay-task/ports.ts';
import { createHub, type EnvironmentStreams, type Hub, type HubOptions } from '../../../relay-task/streams/hub.ts';
import { createMemoryView, type MemoryView } from '../streams/memory-view.ts';

export interface TestServer {
  readonly port: number;
  readonly server: RelayServer;
  readonly hub: Hub;
  readonly view: MemoryView;
  readonly streams: EnvironmentStreams;
  readonly environment: { name: string; environmentId?: string; view: MemoryView; refused: boolean };
  readonly logged: string[];
  readonly answers: { route: string; method: string; status: number; environment: string | undefined }[];
  get(path: string, init?: RequestInit): Promise<Response>;
  close(): Promise<void>;
}

export interface TestServerOptions {
  readonly view?: MemoryView;
  readonly hub?: HubOptions;
  readonly server?: Partial<RelayServerOptions>;
  readonly health?: Partial<Health>;
  /** Instead of one environment with `sdk-key`, `mob-key` and the client-side ID `64a0`. */
  find?(kind: CredentialKind, credential: string, filter: string, environment: ServedEnvironment): Found;
}

/** A real server and hub on a free port, with one environment in memory. */
export async function startServer(options: TestServerOptions = {}): Promise<TestServer> {
  const view = options.view ?? createMemoryView([]);
  const environment = { name: 'production', environmentId: '64a0', view, refused: false };
  const keys: Record<CredentialKind, string> = { sdkKey: 'sdk-key', mobileKey: 'mob-key', environmentId: '64a0' };
  const hub = createHub(options.hub);
  const streams = hub.environment({ name: 'production', view, environmentId: () => environment.environmentId });
  const logged: string[] = [];
  const answers: TestServer['answers'] = [];
  const write = (message: string, fields?: Record<string, unknown>) =>
    void logged.push(`${message} ${String(fields?.error)}`);
  const log: Log = { debug: write, info: write, warn: write, error: write };
  const server = createRelayServer({
    find(kind, credential, filter) {
      if (options.find) return options.find(kind, credential, filter, environment);
      if (credential !== keys[kind]) return 'unknown-credential';
      return filter === '' ? { environment } : 'unknown-filter';
    },
    openStream: (_environment, socket, opening) => streams.open(socket, opening),
    health: {
      status: () => ({ status: 'healthy' }),
      environmentStatus: (identifier) => (identifier === 'production' ? { status: 'connected' } : undefined),
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
    view,
    streams,
    environment,
    logged,
    answers,
    get: (path, init) => fetch(`http://127.0.0.1:${port}${path}`, { redirect: 'manual', ...init }),
    async close() {
      const closed = server.close(500);
      await hub.closeAll(0);
      await closed;
    },
  };
}
