/** Three relays with a LaunchDarkly and a source of keys for each, and one store for all. */
import type { Variables } from '../../../relay-task/config/config.ts';
import { startConsul } from '../../support/consul-server.ts';
import { startTable } from '../../support/dynalite.ts';
import { type FakeAutoConfig, startFakeAutoConfig } from '../../support/fake-auto-config.ts';
import { basisOf, type FDv2Data, intent, putObject, textOf, transferred } from '../../support/fake-fdv2.ts';
import type { Answer, RecordedRequest } from '../../support/fake-upstream.ts';
import { hasRedis, startRedis } from '../../support/redis.ts';
import { hastyTimings } from '../../support/rotating-sources.ts';
import { startTestRelay, type TestRelay } from '../../support/start-relay.ts';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts';
import type { Choices } from './operations.ts';
import type { Knowledge } from './oracle.ts';
import { openSource, type Source } from './sources.ts';
import type { Folder, State, World } from './world.ts';

export const storeNames = ['DynamoDB', 'Consul', ...(hasRedis ? ['Redis'] : [])];

export interface Member {
  readonly number: number;
  readonly knowledge: Knowledge;
  /** Undefined while it starts. */
  readonly relay: TestRelay | undefined;
  readonly faults: Readonly<Record<string, () => unknown>>;
  /** Its source tells it nothing new until `hear`. */
  lag(): void;
  hear(): Promise<void>;
  heal(): Promise<void>;
  /** It has answered as every relay has to: what it can know begins at the present state. */
  settled(): void;
  /** Starts again from the store: after an orderly end, or after one in which nothing could be written any more. */
  restart(how: 'orderly' | 'killed'): Promise<void>;
  /** LaunchDarkly has new data of this environment. */
  changed(environment: string): Promise<void>;
  close(): Promise<void>;
}

export async function openStore(
  name: string,
): Promise<{ port: number; variables(port: number): Variables; close(): Promise<void> }> {
  if (name === 'Redis') {
    const redis = await startRedis();
    const variables = (port: number) => ({ USE_REDIS: 'true', REDIS_HOST: '127.0.0.1', REDIS_PORT: String(port) });
    return { port: redis.port, variables, close: redis.close };
  }
  if (name === 'Consul') {
    const consul = await startConsul();
    const variables = (port: number) => ({ USE_CONSUL: 'true', CONSUL_HOST: `127.0.0.1:${port}` });
    return { port: Number(new URL(consul.address).port), variables, close: consul.close };
  }
  const { tableName, endpoint, close } = await startTable();
  const variables = (port: number) => ({
    ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: tableName, DYNAMODB_URL: `http://127.0.0.1:${port}` },
  });
  return { port: Number(new URL(endpoint).port), variables, close };
}

/** After this time a relay has read the head of an open stream. */
const HEARD_MS = 1_000;

const isOfFlags = ({ url }: RecordedRequest) => /^\/(all|sdk\/stream|sdk\/poll)\b/.test(url);
const isPoll = ({ url }: RecordedRequest) => url.startsWith('/sdk/poll');
const keyIn = ({ headers }: RecordedRequest) => String(headers.authorization);

/** LaunchDarkly as one relay sees it. */
async function openLaunchDarkly(world: World, { pick, random }: Choices) {
  const fake: FakeAutoConfig = await startFakeAutoConfig();
  const { upstream } = fake;
  const configuration = upstream.dataFor;
  let trouble: ((sdkKey: string) => Answer | undefined) | undefined;
  let isAutoConfigSilent = false;
  let isGarbled = false;
  upstream.dataFor = (request) =>
    isOfFlags(request) ? dataFor(world.environmentOf(keyIn(request))) : configuration(request);
  /** One of the two flags, which every environment has, cannot be read while it is garbled. */
  const dataFor = (environment: string) => {
    const data = world.dataOf(environment);
    if (isGarbled) data.flags.whose = { key: 'whose', version: world.versionOf(environment), rules: 'none' };
    return data;
  };
  /** Another state while it is garbled: what could not be read then is sent again. */
  const stateOf = (environment: string) =>
    `${environment}-${world.versionOf(environment)}${isGarbled ? '-garbled' : ''}`;
  const putsOf = (environment: string) =>
    Object.values(dataFor(environment).flags).map((flag) => putObject('flag', flag as FDv2Data));
  function eventsFor(request: RecordedRequest) {
    const environment = world.environmentOf(keyIn(request));
    const state = stateOf(environment);
    if (basisOf(request) === state) return [intent('none')];
    return [intent('xfer-full'), ...putsOf(environment), transferred(state)];
  }
  upstream.greetingFor = (request) =>
    request.url.startsWith('/sdk/stream') ? eventsFor(request).map(textOf).join('') : undefined;
  /** The streams that told of their environment, by SDK key. */
  const told = new Map<string, RecordedRequest[]>();
  const idHeaders = (request: RecordedRequest): Record<string, string> =>
    world.sendsIds ? { 'X-LD-EnvID': idOf(world, keyIn(request)) } : {};
  upstream.headersFor = (request): Record<string, string> => {
    if (!isOfFlags(request) || !world.sendsIds) return {};
    const sdkKey = keyIn(request);
    told.set(sdkKey, [...(told.get(sdkKey) ?? []), request]);
    return idHeaders(request);
  };
  upstream.answer = (request) => {
    if (!isOfFlags(request)) return isAutoConfigSilent ? 'silent' : 'stream';
    const answer = trouble?.(keyIn(request)) ?? (world.accepts(keyIn(request)) ? 'stream' : { status: 401 });
    if (!isPoll(request)) return answer;
    if (answer === 'silent') return 'hang';
    if (answer !== 'stream') return answer;
    return { status: 200, headers: idHeaders(request), body: JSON.stringify({ events: eventsFor(request) }) };
  };
  const toSome = (answer: Answer) => {
    const one = random() < 0.5 ? pick(world.credentials.filter(({ kind }) => kind === 'sdkKey')).value : undefined;
    trouble = (sdkKey) => (one === undefined || sdkKey === one ? answer : undefined);
    if (random() < 0.6) upstream.cut(isOfFlags);
  };
  return {
    fake,
    /** A relay that leaves a stream at once may not have read its head. */
    heardAt(sdkKey: string): number | undefined {
      const read = told.get(sdkKey)?.find(({ at, endedAt = Date.now() }) => endedAt - at > HEARD_MS);
      return read && read.at + HEARD_MS;
    },
    forget: () => told.clear(),
    faults: {
      launchDarklyHangs: () => toSome('hang'),
      launchDarklyIsSilent: () => toSome('silent'),
      launchDarklyRejects: () => toSome({ status: 401 }),
      launchDarklyFindsNothing: () => toSome({ status: 404 }),
      launchDarklyFails: () => toSome({ status: 503 }),
      launchDarklyIsCut: () => toSome('cut'),
      launchDarklyTrickles() {
        upstream.greetChunkBytes = 40;
        upstream.cut(isOfFlags);
      },
      launchDarklyIsGarbled() {
        isGarbled = true;
        if (random() < 0.5) upstream.cut(isOfFlags);
      },
      autoConfigIsSilent() {
        isAutoConfigSilent = true;
        upstream.cut((request) => !isOfFlags(request));
      },
    },
    heal() {
      [trouble, isAutoConfigSilent, isGarbled, upstream.greetChunkBytes] = [undefined, false, false, undefined];
      // A stream that says nothing, or a request without an answer, would go on until its timeout.
      upstream.cut();
    },
    /** The environments' streams get both flags; those that hang get nothing. */
    async changed(environment: string) {
      const to = (request: RecordedRequest) =>
        isOfFlags(request) &&
        trouble?.(keyIn(request)) === undefined &&
        world.environmentOf(keyIn(request)) === environment;
      if (world.protocol === 'fdv2') {
        const text = [...putsOf(environment), transferred(stateOf(environment))].map(textOf).join('');
        return upstream.send(text, { to });
      }
      for (const flag of Object.values(dataFor(environment).flags))
        await upstream.event('patch', { path: `/flags/${(flag as { key: string }).key}`, data: flag }, { to });
    },
  };
}

/** The client-side ID of LaunchDarkly's environment of this key: of several made for it, the one that its folder has. */
function idOf({ folders, credentials, environmentOf }: World, sdkKey: string): string {
  const isHome = (id: string | undefined) => id !== undefined && environmentOf(id) === environmentOf(sdkKey);
  const names = (folder: Folder) => [folder, ...folder.previous].some((one) => one.sdkKey === sdkKey);
  const own = folders.find((folder) => names(folder) && isHome(folder.clientId))?.clientId;
  return (
    own ??
    credentials.find(({ kind, value }) => kind === 'environmentId' && isHome(value))?.value ??
    'c0ffee000000999999999999'
  );
}

export async function openMember(
  world: World,
  store: Awaited<ReturnType<typeof openStore>>,
  number: number,
  choices: Choices,
): Promise<Member> {
  const launchDarkly = await openLaunchDarkly(world, choices);
  const source: Source = await openSource(world, launchDarkly.fake, choices);
  const endings: Promise<void>[] = [];
  let proxy: TcpProxy;
  let relay: TestRelay | undefined;
  let isLagging = false;
  let oldest = 0;
  let read: State[] = [];
  /** The state that its source has been told, and the one that it was started with. */
  let told = world.states.length - 1;
  let startedAt = told;

  async function start(): Promise<void> {
    proxy = await startTcpProxy(store.port);
    startedAt = told;
    read = [];
    launchDarkly.forget();
    const variables = {
      ...(await source.variables()),
      ...store.variables(proxy.port),
      ...{ STREAM_URI: launchDarkly.fake.upstream.uri, BASE_URI: launchDarkly.fake.upstream.uri },
      ...{ UPSTREAM_PROTOCOL: world.protocol, POLL_INTERVAL: '1s' },
    };
    relay = await startTestRelay({ ...variables, LOG_LEVEL: 'debug' }, { timings: hastyTimings });
  }

  async function hear(): Promise<void> {
    isLagging = false;
    told = world.states.length - 1;
    await source.say(world.states[told]!);
  }

  await start();
  return {
    number,
    get knowledge() {
      const isFixed = world.source === 'configuration';
      return {
        oldest: isFixed ? startedAt : oldest,
        newest: isFixed ? startedAt : world.states.length - 1,
        read,
        heardAt: launchDarkly.heardAt,
      };
    },
    get relay() {
      return relay;
    },
    faults: {
      ...launchDarkly.faults,
      ...source.faults,
      storeIsDown: () => proxy.cut(),
      storeHangs: () => proxy.hang(),
      storeIsSlow: () => proxy.slow(100),
    },
    lag() {
      isLagging = true;
    },
    async hear() {
      if (!isLagging) await hear();
    },
    async heal() {
      source.heal();
      launchDarkly.heal();
      proxy.heal();
      await hear();
    },
    settled() {
      oldest = world.states.length - 1;
      read.push(world.states[oldest]!);
    },
    async restart(how) {
      const [before, itsProxy] = [relay, proxy];
      relay = undefined;
      if (how === 'killed') itsProxy.cut();
      const end = before?.close().finally(() => itsProxy.close());
      // Who is killed does not end before the next one starts.
      if (end && how === 'killed') endings.push(end);
      else await end;
      await start();
    },
    changed: (environment) => launchDarkly.changed(environment),
    async close() {
      await relay?.close();
      await Promise.all(endings);
      await proxy.close();
      await source.close();
      await launchDarkly.fake.close();
    },
  };
}
