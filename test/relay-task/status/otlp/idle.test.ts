/** What is switched off is not loaded, and no request is watched. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { jest } from '@jest/globals';
import { startFakeUpstream } from '../../../support/fake-upstream.ts';
import { closeAfterEach } from '../../../support/opened.ts';
import { startTestRelay } from '../../../support/start-relay.ts';

const root = join(import.meta.dirname, '../../../..');
const { opened } = closeAfterEach();

jest.mock('../../../../relay-task/status/otlp/start.ts', () => {
  throw new Error('OpenTelemetry was loaded');
});

async function startRelay(variables: Record<string, string>) {
  const upstream = opened(await startFakeUpstream({ flags: {} }));
  return startTestRelay({
    LD_ENV_production: 'sdk-00000000-1111-2222-3333-444455556666',
    STREAM_URI: upstream.uri,
    ...variables,
  });
}

test.each([
  ['nothing is set', {}],
  ['it is switched off', { USE_OTLP: 'false', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' }],
  ['the SDK is disabled', { USE_OTLP: 'true', OTEL_SDK_DISABLED: 'TRUE' }],
  ['neither signal is sent', { USE_OTLP: 'true', OTEL_METRICS_EXPORTER: 'none', OTEL_TRACES_EXPORTER: 'none' }],
])('the relay starts without it when %s', async (_, variables) => {
  const relay = opened(await startRelay(variables));
  expect(await relay.initialized()).toEqual([]);
});

test('it is loaded when it is switched on', async () => {
  await expect(startRelay({ USE_OTLP: 'true' })).rejects.toThrow('OpenTelemetry was loaded');
});

test('no other source of the relay loads OpenTelemetry', () => {
  const sources = readdirSync(join(root, 'relay-task'), { recursive: true, encoding: 'utf8' }).filter(
    (path) => path.endsWith('.ts') && !path.startsWith('status/otlp/'),
  );
  expect(sources.length).toBeGreaterThan(300);
  const loading = sources.filter((path) =>
    /^(?:import|export)(?! type)[^;]*from '(?:@opentelemetry\/|[^']*\/otlp\/)/m.test(
      readFileSync(join(root, 'relay-task', path), 'utf8'),
    ),
  );
  expect(loading).toEqual([]);
});
