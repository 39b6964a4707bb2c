/** Which changes a write to streams or to a store belongs to. */
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { createChangeWatch } from '../../../../relay-task/status/otlp/change-watch.ts';
import { flag } from '../../../support/items.ts';

function start() {
  const exporter = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  const watch = createChangeWatch(provider.getTracer('test'));
  const change = (environment: string, generation: number, receivedAt: number) =>
    watch.changed(environment, { generation, kind: 'patch', items: [flag('a', generation)], receivedAt });
  /** Of each written span, the change that it belongs to. */
  const written = (name: string) => {
    const spans = exporter.getFinishedSpans();
    return spans
      .filter((span) => span.name === name)
      .map(({ parentSpanContext }) => {
        const parent = spans.find((span) => span.spanContext().spanId === parentSpanContext?.spanId);
        return parent?.attributes['launchdarkly.relay.change.generation'];
      });
  };
  return { watch, change, written };
}

test('a pass and a publication count for the changes that they include, and for no other', () => {
  const { watch, change, written } = start();
  for (const [generation, receivedAt] of [10, 20, 30].entries()) change('a', generation + 1, receivedAt);
  change('b', 9, 20);
  watch.wroteStreams('a', 'all', 10, 20);
  watch.wroteStore('a', 'redis', { since: 20, until: 30, items: 1 });
  expect(written('relay.streams.write')).toEqual([1, 2]);
  expect(written('relay.store.write')).toEqual([2, 3]);
});

test('the oldest of more than a thousand changes are forgotten', () => {
  const { watch, change, written } = start();
  for (let generation = 1; generation <= 1_100; generation++) change('a', generation, generation);
  watch.wroteStreams('a', 'all', 1, 1_100);
  expect(written('relay.streams.write')).toHaveLength(1_024);
  expect(written('relay.streams.write')[0]).toBe(77);
});
