/** What clients choose, in labels of metrics: bounded, and without keys. */
import { resultOf } from '../../../../relay-task/common/slices.ts';
import type { WatchedHead } from '../../../../relay-task/ports.ts';
import type { RelayStanding } from '../../../../relay-task/status/health.ts';
import { createApplications } from '../../../../relay-task/status/otlp/request-attributes.ts';
import { statusMetrics } from '../../../../relay-task/status/otlp/status-gauges.ts';

const head = (tags: string | undefined) =>
  ({ headers: tags === undefined ? {} : { 'x-launchdarkly-tags': tags } }) as unknown as WatchedHead;
const none = { id: 'not_provided', version: 'not_provided' };

test('an application is named by the longest tags that SDKs send, four of 64 characters', () => {
  const [id, name, version, versionName] = ['i', 'n', 'v', 'w'].map((letter) => letter.repeat(64));
  const tags = `application-id/${id} application-name/${name} application-version/${version} application-version-name/${versionName}`;
  expect(createApplications()(head(tags))).toEqual({ id, version });
});

test.each([
  undefined,
  '',
  'x'.repeat(10_000),
  `application-id/${'x'.repeat(65)}`,
  'application-id/ application-version/',
  'application-id/a"b\nc|d#e',
  'application-id/größe',
])('%j names none', (tags) => {
  expect(createApplications()(head(tags))).toEqual(none);
});

test('a key in a tag is hidden', () => {
  const key = '00000000-1111-2222-3333-444455556666';
  const application = createApplications()(head(`application-id/sdk-${key} application-version/mob-${key}`));
  expect(application).toEqual({ id: 'sdk-…', version: 'mob-…' });
});

test('of applications that clients invent, a hundred have names', () => {
  const applicationOf = createApplications();
  const seen = new Set(Array.from({ length: 1_000 }, (_, n) => applicationOf(head(`application-id/app-${n}`)).id));
  expect(seen.size).toBe(101);
  expect(applicationOf(head('application-id/app-7')).id).toBe('app-7');
});

test('a secret key that is configured as a client-side ID is hidden in the gauge of its environment', () => {
  const environmentId = 'sdk-00000000-1111-2222-3333-444455556666';
  const standing = {
    status: 'healthy',
    source: undefined,
    environments: [
      {
        environment: { name: 'production', environmentId, credentials: [] },
        status: 'connected',
        store: { state: 'VALID', stateSince: 0 },
      },
    ],
  } as unknown as RelayStanding;
  const metrics = resultOf(statusMetrics(standing, { perEnvironment: true, at: 0 }));
  const info = metrics.find(({ descriptor }) => descriptor.name === 'launchdarkly.relay.environment.info');
  expect(info?.dataPoints[0]?.attributes).toMatchObject({ 'launchdarkly.environment.id': 'sdk-…' });
  expect(JSON.stringify(metrics)).not.toContain('0000-1111');
});
