/** Counters whose labels are known are 0 at the first reading: Prometheus's `rate()` does not see a series' first value. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exampleFile } from '../support/example-environment.ts';
import { closeAfterEach } from '../support/opened.ts';
import { startTestRelay } from '../support/start-relay.ts';

const { opened, behind } = closeAfterEach();

test('before anything has happened each has its series', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'first-scrape-'));
  behind(() => rmSync(directory, { recursive: true, force: true }));
  const relay = opened(
    await startTestRelay({
      LD_ENV_shop: 'sdk-00000000-1111-2222-3333-444455556666',
      LD_FLAGS_FILE_shop: exampleFile,
      USE_EVENTS: 'true',
      EVENTS_HOST: 'http://127.0.0.1:9',
      EVENTS_SPOOL_DIR: directory,
      HEARTBEAT_FLAG: 'heartbeat',
      HEARTBEAT_API_TOKEN: 'api-00000000-1111-2222-3333-444455556666',
      HEARTBEAT_API_URI: 'http://127.0.0.1:9',
    }),
  );
  const lines = (await relay.metrics.text()).body.split('\n');
  expect(lines).toEqual(
    expect.arrayContaining(
      [
        'streams_opened_total{env="shop"}',
        'streams_admitted_total{env="shop"}',
        'streams_refused_total{env="shop",reason="memory"}',
        'streams_refused_total{env="shop",reason="queue"}',
        'streams_refused_total{env="shop",reason="closing"}',
        'requests_answered_total{env="shop"}',
        'http_failures_total',
        'events_unspooled_total{reason="full"}',
        'events_unspooled_total{reason="slow"}',
        'events_unspooled_total{reason="failed"}',
        'connections_refused_total{reason="files"}',
        'connections_refused_total{reason="memory"}',
        'heartbeats_sent_total{outcome="written"}',
        'heartbeats_sent_total{outcome="failed"}',
      ].map((series) => `launchdarkly_relay_${series} 0`),
    ),
  );
});
