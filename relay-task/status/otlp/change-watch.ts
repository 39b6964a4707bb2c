/**
 * The way of each change as a trace: from the bytes that brought it to memory, to every stream and to every store. Its first span ends when
 * memory has it and all were told; the others end when they are done, under the same trace.
 */
import type { Tracer } from '@opentelemetry/api';
import type { Change, ChangeWatch, SpanAttributes } from '../../ports.ts';
import { beginSpan, clockOf, type RecordedSpan } from './spans.ts';

interface Told {
  readonly environment: string;
  readonly receivedAt: number;
  readonly span: RecordedSpan;
}

/** Changes whose streams and stores may still be at work. While a store is away for long, the oldest get no span of it. */
const MOST_OPEN = 1_024;
const MOST_NAMED = 20;

export function createChangeWatch(tracer: Tracer): ChangeWatch {
  /** The oldest first. */
  const told: Told[] = [];
  const between = (environment: string, since: number, until: number) =>
    told.filter((one) => one.environment === environment && one.receivedAt >= since && one.receivedAt <= until);

  return {
    changed(environment, change) {
      const { receivedAt: since } = change;
      const attributes = attributesOf(environment, change);
      const span = beginSpan(tracer, { name: 'relay.change', attributes, since, clock: clockOf() });
      if (!span) return;
      told.push({ environment, receivedAt: since, span });
      if (told.length > MOST_OPEN) told.shift();
      span.end();
    },
    wroteStreams(environment, kind, since, until) {
      for (const { span, receivedAt } of between(environment, since, until)) {
        span.child('relay.streams.write', { 'launchdarkly.relay.stream.kind': kind }, receivedAt).end();
      }
    },
    wroteStore(environment, database, { since, until, items }) {
      for (const { span, receivedAt } of between(environment, since, until)) {
        const attributes = { 'db.system.name': database, 'launchdarkly.relay.item.count': items };
        span.child('relay.store.write', attributes, receivedAt).end();
      }
    },
  };
}

/** Names and versions of what changed, never its content. */
function attributesOf(environment: string, { kind, generation, items }: Change): SpanAttributes {
  return {
    'launchdarkly.environment.name': environment,
    'launchdarkly.relay.change.kind': kind,
    'launchdarkly.relay.change.generation': generation,
    'launchdarkly.relay.item.count': items.length,
    'launchdarkly.relay.change.items': items
      .slice(0, MOST_NAMED)
      .map(({ kind: of, key, version, deleted }) => `${of}/${key}@${version}${deleted ? ' deleted' : ''}`),
  };
}
