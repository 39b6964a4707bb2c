/**
 * OpenFeature's own OFREP providers, which know nothing of LaunchDarkly, as clients of a relay that serves the example file.
 * They give the same answers as LaunchDarkly's OpenFeature provider, follow an edit, survive a restart of the relay, and fail
 * permanently for a wrong key.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LaunchDarklyProvider } from '@launchdarkly/openfeature-node-server';
import { OFREPProvider } from '@openfeature/ofrep-provider';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { type EvaluationContext, type JsonValue, OpenFeature } from '@openfeature/server-sdk';
import { OpenFeature as WebOpenFeature } from '@openfeature/web-sdk';
import { EventSource } from 'eventsource';
import { eventually } from '../support/eventually.ts';
import { type Environment, exampleContexts, exampleEnvironment } from '../support/example-environment.ts';
import { silentLog } from '../support/logs.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';

const keys = { sdkKey: 'sdk-interop', mobileKey: 'mob-interop', environmentId: '64a0interop' };
let directory: string;
let relay: TestRelay;

const startRelay = (port = '0') =>
  startTestRelay({
    PORT: port,
    LD_ENV_interop: keys.sdkKey,
    LD_MOBILE_KEY_interop: keys.mobileKey,
    LD_CLIENT_SIDE_ID_interop: keys.environmentId,
    LD_FLAGS_FILE_interop: join(directory, 'flags.json'),
  });
const save = (environment: Environment) => writeFileSync(join(directory, 'flags.json'), JSON.stringify(environment));
/** Has a flag without a value when off; every second flag is available to browsers. */
const environment = (): Environment => {
  const { flags, segments } = exampleEnvironment();
  const unset = { key: 'unset', version: 1, on: false, variations: [true, false], salt: 's' };
  const seen = Object.entries({ ...flags, unset }).map(([key, flag], index) => [
    key,
    { ...flag, clientSideAvailability: { usingMobileKey: false, usingEnvironmentId: index % 2 === 0 } },
  ]);
  return { segments, flags: Object.fromEntries(seen) };
};
const turn = (key: string, on: boolean) => {
  const { flags, segments } = environment();
  save({ segments, flags: { ...flags, [key]: { ...flags[key], on } } });
};

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'edge-flag-relay-'));
  save(environment());
  relay = await startRelay();
});
afterEach(async () => {
  await OpenFeature.close();
  await WebOpenFeature.close();
  await relay.close();
  rmSync(directory, { recursive: true });
});

/** The example's contexts and more, in OpenFeature's form. */
const contexts = [
  ...exampleContexts,
  ...Array.from({ length: process.env.LONG ? 79 : 0 }, (_, index) => ({
    kind: 'user',
    key: `more-${index}`,
    email: `more-${index}@example.com`,
  })),
].map(
  ({ key, ...others }): EvaluationContext =>
    (key === undefined ? others : { targetingKey: key, ...others }) as EvaluationContext,
);
const someone: EvaluationContext = { targetingKey: 'alice' };
/** A default for each flag, of the type of its values. */
const defaults = Object.entries(environment().flags).map(([key, flag]) => {
  const [value] = flag.variations as JsonValue[];
  const asked = { boolean: false, string: 'none', number: -1, object: { none: true } };
  return [key, asked[typeof value as keyof typeof asked]] as const;
});

interface Details {
  getBooleanDetails(key: string, value: boolean, context?: EvaluationContext): unknown;
  getStringDetails(key: string, value: string, context?: EvaluationContext): unknown;
  getNumberDetails(key: string, value: number, context?: EvaluationContext): unknown;
  getObjectDetails(key: string, value: JsonValue, context?: EvaluationContext): unknown;
}
async function detail(client: Details, key: string, value: JsonValue, context?: EvaluationContext) {
  const ask = () => {
    if (typeof value === 'boolean') return client.getBooleanDetails(key, value, context);
    if (typeof value === 'string') return client.getStringDetails(key, value, context);
    if (typeof value === 'number') return client.getNumberDetails(key, value, context);
    return client.getObjectDetails(key, value, context);
  };
  const { flagMetadata, errorMessage, ...details } = (await ask()) as Record<string, unknown>;
  return details;
}

async function launchDarkly(): Promise<Details> {
  const options = {
    streamUri: relay.uri,
    baseUri: relay.uri,
    eventsUri: relay.uri,
    sendEvents: false,
    diagnosticOptOut: true,
  };
  await OpenFeature.setProviderAndWait(
    'launchdarkly',
    new LaunchDarklyProvider(keys.sdkKey, { ...options, logger: silentLog }),
  );
  return OpenFeature.getClient('launchdarkly');
}
async function ofrep(key: string): Promise<Details> {
  const headers: [string, string][] = [['Authorization', `Bearer ${key}`]];
  await OpenFeature.setProviderAndWait('ofrep', new OFREPProvider({ baseUrl: relay.uri, headers }));
  return OpenFeature.getClient('ofrep');
}
const webProvider = (key: string) =>
  new OFREPWebProvider({ baseUrl: relay.uri, headers: [['X-API-Key', key]], pollInterval: 50, cacheMode: 'disabled' });

describe("OpenFeature's server provider", () => {
  test('gives the same answers as LaunchDarkly’s own provider @heavy', async () => {
    const [theirs, ours] = [await launchDarkly(), await ofrep(keys.sdkKey)];
    expect([contexts.length, defaults.length]).toEqual([process.env.LONG ? 100 : 21, expect.any(Number)]);
    const reasons = new Set<unknown>();
    for (const context of contexts) {
      const answers = defaults.map(async ([key, value]) => {
        // This version of the provider treats an absent value as an error, but still returns the default.
        const [expected, answer] = await Promise.all([
          detail(theirs, key, value, context),
          detail(ours, key, value, context),
        ]);
        reasons.add(expected.reason);
        if (key === 'unset') expect({ value: answer.value, context }).toEqual({ value: expected.value, context });
        else expect({ context, ...answer }).toEqual({ context, ...expected });
      });
      await Promise.all(answers);
    }
    expect([...reasons]).toEqual(expect.arrayContaining(['OFF', 'FALLTHROUGH', 'TARGET_MATCH', 'RULE_MATCH']));
    const nobody = {};
    expect(await detail(ours, 'retired', 'none', nobody)).toEqual(await detail(theirs, 'retired', 'none', nobody));
    expect(await detail(ours, 'no-such-flag', true, someone)).toEqual(
      await detail(theirs, 'no-such-flag', true, someone),
    );
  });

  test('follows an edit and reconnects after a restart of the relay @heavy', async () => {
    const client = await ofrep(keys.sdkKey);
    expect(await detail(client, 'retired', 'none', someone)).toMatchObject({ value: 'off', reason: 'OFF' });
    turn('retired', true);
    await eventually(async () =>
      expect(await detail(client, 'retired', 'none', someone)).toMatchObject({ value: 'on' }),
    );
    await relay.close();
    expect(await detail(client, 'retired', 'none', someone)).toMatchObject({ value: 'none', reason: 'ERROR' });
    relay = await startRelay(String(relay.port));
    await eventually(async () =>
      expect(await detail(client, 'retired', 'none', someone)).toMatchObject({ value: 'on' }),
    );
  });

  test('returns defaults for a wrong key', async () => {
    const client = await ofrep('sdk-wrong');
    expect(await detail(client, 'retired', 'none', someone)).toMatchObject({ value: 'none', errorCode: 'GENERAL' });
  });
});

describe("OpenFeature's web provider", () => {
  const visible = defaults.filter((_, index) => index % 2 === 0).map(([key]) => key);

  test('gives the same answers as LaunchDarkly’s own provider for flags available to browsers, and no others @heavy', async () => {
    const theirs = await launchDarkly();
    const provider = webProvider(keys.environmentId);
    await WebOpenFeature.setProviderAndWait('all', provider, someone);
    const client = WebOpenFeature.getClient('all');
    expect(Object.keys(provider.flagCache)).toEqual(visible);
    expect(visible.length).toBeGreaterThan(3);
    for (const context of contexts) {
      await WebOpenFeature.setContext('all', context);
      const answers = defaults.map(async ([key, value]) => ({ key, ...(await detail(client as Details, key, value)) }));
      const expected = defaults.map(async ([key, value]) =>
        visible.includes(key)
          ? { key, ...(await detail(theirs, key, value, context)) }
          : { key, flagKey: key, value, reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' },
      );
      expect({ context, answers: await Promise.all(answers) }).toEqual({
        context,
        answers: await Promise.all(expected),
      });
    }
  });

  test('accepts a mobile key or an SDK key, and uses the default for an absent value', async () => {
    const theirs = await launchDarkly();
    await WebOpenFeature.setProviderAndWait('server', webProvider(keys.sdkKey), someone);
    const client = WebOpenFeature.getClient('server') as Details;
    for (const [key, value] of defaults) {
      expect(await detail(client, key, value)).toEqual(await detail(theirs, key, value, someone));
    }
    expect(await detail(client, 'unset', false)).toMatchObject({ value: false, reason: 'OFF' });
    await WebOpenFeature.setProviderAndWait('mobile', webProvider(keys.mobileKey), someone);
  });

  test('when polling, follows an edit, keeps its flags while the relay restarts, and follows the next edit @heavy', async () => {
    await WebOpenFeature.setProviderAndWait('polling', webProvider(keys.sdkKey), someone);
    const client = WebOpenFeature.getClient('polling') as Details;
    expect(await detail(client, 'retired', 'none')).toMatchObject({ value: 'off' });
    turn('retired', true);
    await eventually(async () => expect(await detail(client, 'retired', 'none')).toMatchObject({ value: 'on' }));
    await relay.close();
    expect(await detail(client, 'retired', 'none')).toMatchObject({ value: 'on' });
    save(environment());
    relay = await startRelay(String(relay.port));
    await eventually(async () => expect(await detail(client, 'retired', 'none')).toMatchObject({ value: 'off' }));
  });

  test('follows edits through the event stream without polling, also after a restart of the relay @heavy', async () => {
    // Browsers have it, Node does not.
    Object.assign(globalThis, { EventSource });
    try {
      const headers: [string, string][] = [['Authorization', `Bearer ${keys.environmentId}`]];
      const provider = new OFREPWebProvider({ baseUrl: relay.uri, headers, cacheMode: 'disabled' });
      await WebOpenFeature.setProviderAndWait('events', provider, someone);
      const client = WebOpenFeature.getClient('events') as Details;
      const [key, value] = defaults.find(([name]) => visible.includes(name) && environment().flags[name]?.on)!;
      const before = await detail(client, key, value);
      turn(key, false);
      await eventually(async () => expect(await detail(client, key, value)).toMatchObject({ reason: 'OFF' }));
      await relay.close();
      expect(await detail(client, key, value)).toMatchObject({ reason: 'OFF' });
      save(environment());
      relay = await startRelay(String(relay.port));
      await eventually(async () => expect(await detail(client, key, value)).toEqual(before));
    } finally {
      await WebOpenFeature.close();
      Reflect.deleteProperty(globalThis, 'EventSource');
    }
  });

  test('fails permanently for a wrong key', async () => {
    await expect(WebOpenFeature.setProviderAndWait('wrong', webProvider('wrong'), someone)).rejects.toThrow();
    expect(WebOpenFeature.getClient('wrong').providerStatus).toBe('FATAL');
  });
});
