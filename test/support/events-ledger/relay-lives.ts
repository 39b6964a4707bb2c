/** Relay processes that forward events, and what each of them says about events over its whole life. */
import { eventually } from '../eventually.ts';
import { freePort } from '../free-port.ts';
import { residentMemory } from '../memory-limit.ts';
import { listeningPort, type RelayProcess, type RunOptions, runRelay } from '../relay-process.ts';
import type { Backend } from './front-door.ts';

/** Of all environments. */
export interface Told {
  readonly received: number;
  readonly forwarded: number;
  readonly dropped: Readonly<Record<string, number>>;
}

export interface Life extends Backend, RelayProcess {
  readonly pid: number;
  /** Its counters now, and the bytes that events take. */
  scrape(): Promise<Told & { readonly queueBytes: number }>;
  /** Its counters up to its end, from the metrics that it writes for CloudWatch. Exact once it has exited in order. */
  told(): Told;
  /** Resolves with its exit code. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null>;
  /** In bytes, the most so far. */
  peakMemory(): number;
}

export const droppedBy = ({ dropped }: Pick<Told, 'dropped'>): number =>
  Object.values(dropped).reduce((sum, events) => sum + events, 0);

export function inAll(all: readonly Told[]): Told {
  const dropped: Record<string, number> = {};
  for (const told of all)
    for (const [reason, events] of Object.entries(told.dropped)) dropped[reason] = (dropped[reason] ?? 0) + events;
  const sum = (name: 'received' | 'forwarded') => all.reduce((total, told) => total + told[name], 0);
  return { received: sum('received'), forwarded: sum('forwarded'), dropped };
}

/** Resolves when it is ready. */
export async function startLife(
  index: number,
  variables: Record<string, string>,
  options: RunOptions = {},
): Promise<Life> {
  const metricsPort = await freePort();
  const relay = runRelay(
    {
      ...{ PORT: '0', LISTEN_HOST: '127.0.0.1', DRAIN_WINDOW: '0', USE_EVENTS: 'true', EVENTS_FLUSH_INTERVAL: '50ms' },
      ...{ USE_PROMETHEUS: 'true', PROMETHEUS_PORT: String(metricsPort) },
      ...{ METRICS_EMF: 'true', METRICS_EMF_INTERVAL: '1s' },
      ...variables,
    },
    [],
    options,
  );
  const end: Life['end'] = (signal) => {
    relay.child.kill(signal);
    return relay.exited;
  };
  try {
    const port = await eventually(() => {
      if (relay.child.exitCode !== null) throw new Error(`the relay ended: ${JSON.stringify(relay.output())}`);
      return listeningPort(relay.output().stdout);
    });
    await eventually(async () => expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200));
    const pid = relay.child.pid ?? 0;
    return {
      ...relay,
      ...{ index, port, pid, end, acceptedEvents: 0 },
      scrape: async () => scraped(await freshMetrics(`http://127.0.0.1:${metricsPort}/metrics`)),
      told: () => published(relay.output().stdout),
      peakMemory: () => residentMemory(pid)?.peakBytes ?? 0,
    };
  } catch (error) {
    await end('SIGKILL');
    throw error;
  }
}

/** The relay gives everyone the same text for a second; what differs from the first one was made after it was asked for. */
async function freshMetrics(uri: string): Promise<string> {
  const ask = async () => (await fetch(uri)).text();
  const first = await ask();
  return eventually(async () => {
    const text = await ask();
    if (text === first) throw new Error('the metrics are those of a moment ago');
    return text;
  });
}

/** Of Prometheus's text. */
function scraped(text: string): Told & { readonly queueBytes: number } {
  const rows = (name: string) =>
    Array.from(text.matchAll(new RegExp(`^\\w*_?${name}(?:{(.*)})? (\\S+)$`, 'gm')), ([, labels = '', value]) => ({
      reason: /reason="(\w[\w-]*)"/.exec(labels)?.[1] ?? '',
      value: Number(value),
    }));
  const sum = (name: string) => rows(name).reduce((total, { value }) => total + value, 0);
  const dropped: Record<string, number> = {};
  for (const { reason, value } of rows('events_dropped_total')) dropped[reason] = (dropped[reason] ?? 0) + value;
  return {
    received: sum('events_received_total'),
    forwarded: sum('events_forwarded_total'),
    queueBytes: sum('events_queue_bytes'),
    dropped,
  };
}

/** Of the lines for CloudWatch: each has the increase since the one before. */
function published(stdout: string): Told {
  const sum = { received: 0, forwarded: 0 };
  const dropped: Record<string, number> = {};
  for (const line of stdout.split('\n')) {
    if (!line.includes('"_aws"')) continue;
    const { EventsReceived = 0, EventsForwarded = 0, EventsDropped = 0, Reason } = JSON.parse(line);
    sum.received += EventsReceived;
    sum.forwarded += EventsForwarded;
    if (Reason !== undefined && EventsDropped > 0) dropped[Reason] = (dropped[Reason] ?? 0) + EventsDropped;
  }
  return { ...sum, dropped };
}
