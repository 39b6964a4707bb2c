/**
 * Which SDKs use the relay, as LaunchDarkly's account pages show it: ld-relay's event `relayMetrics`. Source: ld-relay 8.10.1,
 * `internal/metrics/events_exporter.go`; an event that it sent is in `test/fixtures/relay-usage/ld-relay-8.10.1.json`.
 */
import { labelValue, platforms } from '../common/client-labels.ts';
import type { Answered, CredentialKind } from '../ports.ts';

/** The routes on which server SDKs poll: ld-relay's three for PHP, and the relay's own. */
const POLLING = new Set(['/sdk/flags', '/sdk/flags/{key}', '/sdk/segments/{key}', '/sdk/latest-all', '/sdk/poll']);

interface Client {
  readonly userAgent: string;
  readonly platformCategory: string;
  current: number;
  /** Since the start. */
  opened: number;
  /** Since the last event. */
  polled: number;
}

interface EnvironmentUsage {
  readonly clients: Map<string, Client>;
  /** Unix ms. */
  since: number;
  /** Streams were opened since the last event. */
  isNew: boolean;
}

/** Fields and their order are ld-relay's; a list without entries is left out. */
interface RelayMetrics {
  readonly kind: 'relayMetrics';
  readonly relayId: string;
  readonly startDate: number;
  readonly endDate: number;
  readonly connections?: readonly { userAgent: string; platformCategory: string; current: number }[];
  readonly newConnections?: readonly { userAgent: string; platformCategory: string; count: number }[];
  readonly pollingCounts?: readonly { userAgent: string; platformCategory: string; count: number }[];
}

/** Counts streams and polls by SDK. `family` has few values, so there are few entries. */
interface Usage {
  opened(environment: string, family: string, credential: CredentialKind): void;
  closed(environment: string, family: string, credential: CredentialKind): void;
  answered(answer: Answered): void;
  /** Counting for this environment begins; before, and after `forget`, nothing is counted. */
  begin(environment: string): void;
  forget(environment: string): void;
  /** What happened since the last call; undefined: nothing, and no stream is open. */
  take(environment: string): RelayMetrics | undefined;
}

/** `relayId`: a UUID of this process. `now`: Unix ms. */
export function createUsage(relayId: string, now: () => number = Date.now): Usage {
  const environments = new Map<string, EnvironmentUsage>();

  function clientOf({ clients }: EnvironmentUsage, family: string, credential: CredentialKind): Client {
    const userAgent = labelValue(family);
    const platformCategory = platforms[credential];
    const id = `${platformCategory} ${userAgent}`;
    const client = clients.get(id) ?? { userAgent, platformCategory, current: 0, opened: 0, polled: 0 };
    clients.set(id, client);
    return client;
  }

  return {
    opened(environment, family, credential) {
      const usage = environments.get(environment);
      if (!usage) return;
      const client = clientOf(usage, family, credential);
      client.current += 1;
      client.opened += 1;
      usage.isNew = true;
    },
    closed(environment, family, credential) {
      const usage = environments.get(environment);
      if (!usage) return;
      const client = clientOf(usage, family, credential);
      // An environment that was removed and came back has streams that it has not counted.
      client.current = Math.max(0, client.current - 1);
    },
    answered({ environment, credential, route, status, family }) {
      if (environment === undefined || credential !== 'sdkKey' || status >= 400 || !POLLING.has(route)) return;
      const usage = environments.get(environment);
      if (usage) clientOf(usage, family, credential).polled += 1;
    },
    begin(environment) {
      environments.set(environment, { clients: new Map(), since: now(), isNew: false });
    },
    forget: (environment) => void environments.delete(environment),
    take(environment) {
      const usage = environments.get(environment);
      if (!usage) return undefined;
      const [startDate, endDate] = [usage.since, now()];
      usage.since = endDate;
      const clients = [...usage.clients.values()];
      const named = ({ userAgent, platformCategory }: Client) => ({ userAgent, platformCategory });
      const connections = clients.flatMap((client) =>
        client.current > 0 ? { ...named(client), current: client.current } : [],
      );
      // The total, as ld-relay sends it: it resets its own counts, and gets the total again from its metrics.
      const newConnections = clients.flatMap((client) =>
        client.opened > 0 ? { ...named(client), count: client.opened } : [],
      );
      const pollingCounts = clients.flatMap((client) =>
        client.polled > 0 ? { ...named(client), count: client.polled } : [],
      );
      if (connections.length === 0 && pollingCounts.length === 0 && !usage.isNew) return undefined;
      usage.isNew = false;
      for (const client of clients) client.polled = 0;
      return {
        kind: 'relayMetrics',
        relayId,
        startDate,
        endDate,
        ...(connections.length > 0 && { connections }),
        ...(newConnections.length > 0 && { newConnections }),
        ...(pollingCounts.length > 0 && { pollingCounts }),
      };
    },
  };
}
