/**
 * The balance sheet of events: everything that relays accept from SDKs reaches LaunchDarkly once, or is counted as dropped. Real relay
 * processes, official SDKs, and a LaunchDarkly that fails in every way; with LONG=1 a million events.
 */
import { openWindow } from '../interop/browser-globals.ts';
import { type Account, type EventsSite, other, shop, sitesOfTests } from '../support/events-ledger/events-site.ts';
import { createLedger } from '../support/events-ledger/ledger.ts';
import { openBrowserSdk, openNodeSdk, openPythonSdk, sendVolume } from '../support/events-ledger/producers.ts';
import { type EventReceiver, type Reaction, startEventReceiver } from '../support/events-ledger/receiver.ts';
import { droppedBy } from '../support/events-ledger/relay-lives.ts';
import { eventually, until } from '../support/eventually.ts';
import { environmentRep, startFakeAutoConfig } from '../support/fake-auto-config.ts';
import { bundleRelay } from '../support/relay-process.ts';
import { closeLater, custom, SDK_KEY, send as sendBody, startEnvironment } from './events/support.ts';

const SEED = process.env.SEED ?? 'ledger';
const LONG = Boolean(process.env.LONG);

const openSite = sitesOfTests();

type Volume = Parameters<typeof sendVolume>[0];

const send = ({ door, ledger, random }: EventsSite, count: number, more: Partial<Volume> = {}) =>
  sendVolume({ uri: door.uri, ledger, random, count, environment: shop.environment, credential: shop.sdkKey, ...more });

const toOther = { environment: other.environment, credential: other.sdkKey };

test('the ledger finds each event that is lost, sent twice, or sent with the key of another environment', async () => {
  const ledger = createLedger(6);
  const receiver = await startEventReceiver(ledger, { [SDK_KEY]: shop.environment });
  closeLater(receiver.close);
  const { intake, measured } = startEnvironment(receiver.uriFor(0));
  const numbered = (...numbers: number[]) => numbers.map((number) => custom(number, { metricValue: number }));
  ledger.offer(shop.environment, 5);
  ledger.offer(other.environment, 1);
  await sendBody(intake, numbered(0, 1));
  await eventually(async () => expect(await measured('events_forwarded_total')).toBe(2));
  // Taken, but its answer is lost: it comes again with the same ID.
  receiver.react = () => (receiver.requests === 2 ? 'lost' : 202);
  await sendBody(intake, numbered(1, 2, 5));
  ledger.answered([0, 1, 2, 3, 5], 202, 7);
  ledger.answered([4], 503, 7);
  await eventually(async () => expect(await measured('events_forwarded_total')).toBe(5));
  expect(ledger.balance()).toEqual({
    ...{ offered: 6, accepted: 5, refused: 1, unanswered: 0, delivered: 4, missing: 1, missingFrom: { 7: 1 } },
    ...{ repeated: 1, repeatedWithoutDoubt: 1, neverTaken: 0, strayed: 1 },
  });
  expect(receiver.repeatedPayloads).toBe(1);
  expect([receiver.events(), receiver.unansweredEvents(), receiver.complaints]).toEqual([5, 0, []]);
});

/** What never happens, whatever fails. */
const SOUND = { refused: 0, unanswered: 0, repeated: 0, repeatedWithoutDoubt: 0, neverTaken: 0, strayed: 0 };

/** Nothing was lost, or only what relays counted. */
function expectBalanced(account: Account, dropped: Record<string, unknown> = {}): void {
  const { accepted, delivered, missing, allDropped } = account;
  expect(account).toMatchObject({ ...SOUND, accepted: account.offered });
  expect(account.dropped).toEqual(dropped);
  expect({ missing, accepted }).toEqual({ missing: allDropped, accepted: delivered + allDropped });
}

describe(`the events of SDKs (SEED=${SEED})`, () => {
  bundleRelay();
  let browser: ReturnType<typeof openWindow>;
  beforeEach(() => {
    browser = openWindow('http://page.example');
  });
  afterEach(() => browser.close());

  const sdks = [
    { name: 'the Node server SDK', open: openNodeSdk, credential: shop.sdkKey },
    { name: 'the browser SDK', open: openBrowserSdk, credential: shop.environmentId },
    { name: 'the Python SDK', open: openPythonSdk, credential: shop.sdkKey },
  ];

  for (const { name, open, credential } of sdks)
    (open ? test : test.skip)(`${name}: each numbered one arrives once @heavy`, async () => {
      const count = LONG ? 5_000 : 500;
      const site = await openSite({ seed: SEED, events: count });
      await site.begin(ROOMY);
      const { door, ledger, receiver } = site;
      const sdk = await open!({ uri: door.uri, ledger, environment: shop.environment }, credential);
      // An SDK drops what it cannot send in time.
      for (let sent = 0; sent < count; ) {
        await sdk.send(count / 5);
        sent += count / 5;
        await until('a relay to have accepted all', () => ledger.accepted === sent);
      }
      await sdk.close();
      const account = await site.account();
      expectBalanced(account);
      // Those that the SDK adds, too.
      expect(receiver.events()).toBe(door.acceptedEvents);
      expect(receiver.events()).toBeGreaterThan(count);
      expect(account).toMatchObject({ received: receiver.events(), forwarded: receiver.events() });
    });
});

/** More may wait than is ever sent, so that nothing is dropped for lack of a place. */
const ROOMY = { EVENTS_CAPACITY: '2000000' };
const SMALL = 500;
const counts = { steady: LONG ? 50_000 : 3_000, each: LONG ? 20_000 : 2_000 };

/** What a LaunchDarkly with troubles does, at random. */
const troubled =
  ({ random }: EventsSite, share: number, troubles: readonly Reaction[]): EventReceiver['react'] =>
  () =>
    random() < share ? (troubles[Math.floor(random() * troubles.length)] ?? 503) : 202;

const accept = () => 202;

describe(`events that relays accept (SEED=${SEED})`, () => {
  bundleRelay();
  const open = (events: number, more: Partial<Parameters<typeof openSite>[0]> = {}) =>
    openSite({ seed: SEED, events, ...more });

  test('arrive once, each with a key of its environment @heavy', async () => {
    const site = await open(4 * counts.steady);
    await site.begin(ROOMY);
    const browser = { credential: shop.environmentId };
    const mobile = { credential: shop.mobileKey };
    await Promise.all([{}, toOther, browser, mobile].map((which) => send(site, counts.steady, which)));
    const account = await site.account();
    expectBalanced(account);
    expect(account.accepted).toBe(4 * counts.steady);
    expect(site.receiver.repeatedPayloads).toBe(0);
  });

  test('wait while LaunchDarkly cannot be reached, and arrive after its return @heavy', async () => {
    const site = await open(3 * counts.each);
    await site.begin(ROOMY);
    await send(site, counts.each);
    await site.receiver.leave();
    await send(site, counts.each);
    await site.receiver.comeBack();
    await send(site, counts.each);
    expectBalanced(await site.account());
  });

  test('beyond EVENTS_CAPACITY are counted as dropped, each one @heavy', async () => {
    const site = await open(3 * counts.each);
    await site.begin({ EVENTS_CAPACITY: String(SMALL) });
    await site.receiver.leave();
    await send(site, counts.each);
    await send(site, counts.each, toOther);
    await site.receiver.comeBack();
    const account = await site.account();
    expectBalanced(account, { capacity: expect.any(Number) });
    expect(account.allDropped).toBeGreaterThan(0);
    // Each kind of SDK and each key has as many places.
    expect(account.delivered).toBeGreaterThan(SMALL);
  });

  test('arrive once through a storm of failures, cut connections and lost answers @heavy', async () => {
    const site = await open(counts.each);
    await site.begin(ROOMY);
    const storm = troubled(site, 0.5, [503, 500, 429, 408, 'reset', 'lost']);
    let answersLost = 0;
    // The first answer is lost in any case.
    site.receiver.react = (payload) => (answersLost++ === 0 ? 'lost' : storm(payload));
    await send(site, counts.each, { mostPerBody: 50 });
    site.receiver.react = accept;
    expectBalanced(await site.account());
    expect(site.receiver.repeatedPayloads).toBeGreaterThan(0);
    expect(site.receiver.unansweredEvents()).toBe(0);
  });

  test('arrive in parts where LaunchDarkly takes no larger ones, and only those that are too large alone are dropped @heavy', async () => {
    const site = await open(2 * counts.each);
    await site.begin(ROOMY);
    const mostBytes = 20_000;
    site.receiver.react = ({ bytes }) => (bytes > mostBytes ? 413 : 202);
    await send(site, counts.each);
    // Of random sizes around the limit.
    const large = Math.floor(counts.each / 50);
    await send(site, large, { padding: mostBytes, mostPerBody: 3 });
    const account = await site.account();
    expectBalanced(account, { 'too-large': expect.any(Number) });
    expect(account.missing).toBeGreaterThan(0);
    expect(account.missing).toBeLessThan(large);
  });

  test('are delivered during SIGTERM if LaunchDarkly returns in time @heavy', async () => {
    const site = await open(2 * counts.each);
    const life = await site.begin(ROOMY);
    await send(site, counts.each);
    await site.receiver.leave();
    await send(site, counts.each, toOther);
    const stopped = site.stop(life);
    await until('the relay to shut down', () => life.output().stdout.includes('Shutting down'));
    await site.receiver.comeBack();
    expect(await stopped).toBe(0);
    expectBalanced(await site.account());
  });

  test('are counted as dropped, each one, if LaunchDarkly stays away during SIGTERM @heavy', async () => {
    const site = await open(2 * counts.each);
    const life = await site.begin(ROOMY);
    await send(site, counts.each);
    await site.settled();
    await site.receiver.leave();
    await send(site, counts.each, toOther);
    expect(await site.stop(life)).toBe(0);
    expectBalanced(await site.account(), { closed: counts.each });
  });

  test('that arrived, but whose answer was lost, count as dropped if the relay ends before it can repeat them @heavy', async () => {
    const site = await open(counts.each);
    const life = await site.begin(ROOMY);
    site.receiver.react = () => 'lost';
    await send(site, counts.each);
    expect(await site.stop(life)).toBe(0);
    const account = await site.account();
    expect(account).toMatchObject({ ...SOUND, accepted: counts.each });
    expect(account.missing + site.receiver.unansweredEvents()).toBe(account.allDropped);
    expect(account.dropped).toEqual({ closed: counts.each });
  });

  test('and wait are all that SIGKILL costs without a spool @heavy', async () => {
    const site = await open(3 * counts.each);
    const first = await site.begin(ROOMY);
    await send(site, counts.each);
    expectBalanced(await site.account());
    // From here on some arrive, and some wait, when the relay is killed while others are on their way.
    site.receiver.react = troubled(site, 0.5, ['hang']);
    const sent = send(site, counts.each);
    await until('some to wait', () => site.receiver.hanging > 0 && site.ledger.accepted > 1.5 * counts.each);
    const { queueBytes } = await first.scrape();
    const second = site.begin(ROOMY);
    await site.kill(first);
    site.receiver.react = accept;
    site.receiver.release();
    await second;
    await sent;
    await send(site, counts.each);
    const account = await site.account();
    // What it accepted and had neither delivered nor dropped when it was killed, and nothing of what came before or after.
    const buffered =
      first.acceptedEvents - ((await site.books()).find(({ how }) => how === 'killed')?.told.forwarded ?? 0);
    expect(account).toMatchObject({
      accepted: 3 * counts.each,
      neverTaken: 0,
      strayed: 0,
      repeatedWithoutDoubt: 0,
      allDropped: 0,
    });
    expect(queueBytes).toBeGreaterThan(0);
    expect(account.missing).toBeGreaterThan(0);
    expect(account.missing).toBeLessThanOrEqual(buffered);
    expect(account.missing).toBeLessThanOrEqual(first.acceptedEvents - counts.each);
  });

  test('arrive once from two relays of which each is replaced in turn @heavy', async () => {
    const rounds = LONG ? 6 : 2;
    const site = await open((rounds + 1) * counts.each);
    let [older, newer] = [await site.begin(ROOMY), await site.begin(ROOMY)];
    for (let round = 0; round < rounds; round++) {
      site.receiver.react = troubled(site, 0.2, [503, 'reset']);
      const sent = send(site, counts.each);
      const next = await site.begin(ROOMY);
      expect(await site.stop(older)).toBe(0);
      [older, newer] = [newer, next];
      await sent;
    }
    site.receiver.react = accept;
    await send(site, counts.each);
    expect(Array.from(site.lives, ({ acceptedEvents }) => acceptedEvents > 0)).toEqual([true, true]);
    expectBalanced(await site.account());
  });

  test('are counted as dropped, each one, if LaunchDarkly never answers and the relay ends @heavy', async () => {
    const site = await open(counts.each);
    const life = await site.begin(ROOMY);
    site.receiver.react = () => 'hang';
    await send(site, counts.each);
    await until('a request to hang', () => site.receiver.hanging > 0);
    expect(await site.stop(life)).toBe(0);
    expectBalanced(await site.account(), { closed: counts.each });
  });

  test('take a bounded part of memory while LaunchDarkly never answers, and others are served @heavy', async () => {
    const MIB = 1024 * 1024;
    const budgetBytes = 32 * MIB;
    // An eighth of the budget is for connections, and an eighth of the rest for events.
    const mostBytes = (7 / 8 / 8) * budgetBytes;
    const [eventsCount, padding] = LONG ? [40_000, 10_000] : [4_000, 5_000];
    const site = await open(2 * eventsCount + 200);
    const life = await site.begin({ ...ROOMY, MEMORY_BUDGET: '32MiB' }, { limitBytes: 256 * MIB });
    const large = { padding, mostPerBody: 20 };
    // The same while LaunchDarkly answers: what the process takes for its work alone.
    await send(site, eventsCount, large);
    await site.settled();
    const before = life.peakMemory();
    site.receiver.react = () => 'hang';
    await send(site, eventsCount, large);
    await until('requests to hang', () => site.receiver.hanging > 0);
    const { queueBytes } = await life.scrape();
    const peak = life.peakMemory();
    expect(queueBytes).toBeGreaterThan(mostBytes / 4);
    expect(queueBytes).toBeLessThanOrEqual(mostBytes);
    expect(peak - before).toBeLessThan(budgetBytes);
    expect((await fetch(`${site.door.uri}/livez`)).status).toBe(200);
    const flags = await fetch(`${site.door.uri}/sdk/flags`, { headers: { Authorization: shop.sdkKey } });
    expect(Object.keys((await flags.json()) as object).length).toBeGreaterThan(0);
    const sdk = await openNodeSdk({ uri: site.door.uri, ledger: site.ledger, environment: 0 }, shop.sdkKey);
    await sdk.send(100);
    await sdk.close();
    site.receiver.react = accept;
    site.receiver.release();
    const account = await site.account();
    expect(account).toMatchObject({ ...SOUND, accepted: account.offered });
    expect(account.dropped).toEqual({ memory: expect.any(Number) });
    expect(account.received).toBe(account.forwarded + account.allDropped);
    expect(account.missing).toBeGreaterThan(eventsCount / 2);
    expect(account.missing).toBeLessThanOrEqual(account.allDropped);
    if (process.env.PRINT) process.stderr.write(`${JSON.stringify({ before, peak, queueBytes, account })}\n`);
  });

  test('under a key that is rotated meanwhile and then revoked arrive once, with the key that is valid then @heavy', async () => {
    const [id, newKey] = ['64a0000000000000000000aa', 'sdk-99999999-8888-7777-6666-555544443333'];
    const first = environmentRep(id, 1);
    const oldKey = first.sdkKey.value;
    const launchDarkly = await startFakeAutoConfig(first);
    closeLater(() => launchDarkly.close());
    launchDarkly.upstream.headersFor = () => ({ 'X-LD-EnvID': id });
    const site = await open(3 * counts.each, {
      configuration: {
        AUTO_CONFIG_KEY: 'rel-1',
        STREAM_URI: launchDarkly.upstream.uri,
        BASE_URI: launchDarkly.upstream.uri,
      },
      environments: { [oldKey]: shop.environment, [newKey]: shop.environment },
    });
    await site.begin(ROOMY);
    let isRevoked = false;
    const usedKeys = new Set<string>();
    site.receiver.react = ({ credential }) => {
      if (credential === oldKey && isRevoked) return 401;
      usedKeys.add(credential);
      return 202;
    };
    await send(site, counts.each, { credential: oldKey });
    const during = send(site, counts.each, { credential: oldKey });
    await until('some to be under way', () => site.ledger.accepted > counts.each && usedKeys.has(oldKey));
    isRevoked = true;
    const timestamp = Date.now() + 3_600_000;
    await launchDarkly.patch(
      environmentRep(id, 2, { sdkKey: { value: newKey, expiring: { value: oldKey, timestamp } } }),
    );
    await during;
    await Promise.all([oldKey, newKey].map((credential) => send(site, counts.each / 2, { credential })));
    expectBalanced(await site.account());
    expect([...usedKeys]).toEqual([oldKey, newKey]);
  });
});

/** Enough while LaunchDarkly answers, and not always enough while it does not. */
const NARROW = { EVENTS_CAPACITY: LONG ? '5000' : '100' };

/** Each begins while events are sent, and is over when the promise resolves. `half` of them have been accepted. */
const faults: Readonly<Record<string, (site: EventsSite, half: () => Promise<void>) => Promise<void>>> = {
  async 'LaunchDarkly is away'({ receiver }, half) {
    await receiver.leave();
    await half();
    await receiver.comeBack();
  },
  async 'LaunchDarkly fails at random'(site, half) {
    site.receiver.react = troubled(site, 0.5, [503, 500, 429, 'reset', 'lost']);
    await half();
  },
  async 'LaunchDarkly does not answer'({ receiver }, half) {
    receiver.react = () => 'hang';
    await half();
    receiver.release();
  },
  async 'LaunchDarkly takes small payloads only'({ receiver }, half) {
    receiver.react = ({ bytes }) => (bytes > 50_000 ? 413 : 202);
    await half();
  },
  async 'a relay is replaced'(site) {
    const [oldest] = site.lives;
    await site.begin(NARROW);
    expect(oldest && (await site.stop(oldest))).toBe(0);
  },
  async 'a relay is replaced while LaunchDarkly is away'(site, half) {
    const [oldest] = site.lives;
    await site.begin(NARROW);
    await site.receiver.leave();
    await half();
    expect(oldest && (await site.stop(oldest))).toBe(0);
    await site.receiver.comeBack();
  },
  async 'a relay is killed while LaunchDarkly fails at random'(site, half) {
    const [oldest] = site.lives;
    site.receiver.react = troubled(site, 0.5, [503, 'reset', 'lost', 'hang']);
    await half();
    if (oldest) await site.kill(oldest);
    site.receiver.release();
    await site.begin(NARROW);
  },
};

/** Of two relays at a time, each followed by another one. Returns how many events killed ones took with them. */
async function expectTrueBooks(site: EventsSite): Promise<number> {
  const { receiver, ledger } = site;
  const { missingFrom, neverTaken, strayed, repeatedWithoutDoubt } = ledger.balance();
  expect(receiver.complaints).toEqual([]);
  expect({ neverTaken, strayed, repeatedWithoutDoubt }).toEqual({ neverTaken: 0, strayed: 0, repeatedWithoutDoubt: 0 });
  let lost = 0;
  for (const { life, how, told } of await site.books()) {
    const { index, acceptedEvents } = life;
    const missing = missingFrom[index] ?? 0;
    const dropped = droppedBy(told);
    if (how === 'killed') {
      expect({ index, missing: missing <= acceptedEvents - told.forwarded }).toEqual({ index, missing: true });
      lost += Math.max(0, missing - dropped);
      continue;
    }
    // At its end it may have given up requests that LaunchDarkly had answered, which nobody but the relay can know.
    const arrived = receiver.events(index);
    const { received, forwarded } = told;
    const unsure = arrived - forwarded;
    expect({ index, how, received, accounted: forwarded + dropped }).toEqual({
      ...{ index, how, received: acceptedEvents, accounted: acceptedEvents },
    });
    expect({ index, unsure: unsure >= 0 && unsure <= (told.dropped.closed ?? 0) }).toEqual({ index, unsure: true });
    expect({ index, missing: missing <= dropped }).toEqual({ index, missing: true });
  }
  return lost;
}

describe('through everything', () => {
  bundleRelay();
  let browser: ReturnType<typeof openWindow>;
  beforeEach(() => {
    browser = openWindow('http://page.example');
  });
  afterEach(() => browser.close());

  test(`every event arrives once, or is counted as dropped, or was with a relay that was killed (SEED=${SEED}) @heavy`, async () => {
    const names = Object.keys(faults);
    const phases = LONG ? 3 * names.length : names.length;
    const perSdk = LONG ? 500 : 30;
    const total = LONG ? 1_000_000 : 6_000;
    const perPhase = Math.ceil(total / phases);
    const site = await openSite({ seed: SEED, events: phases * (perPhase + 3 * perSdk) });
    const { door, ledger, receiver, random } = site;
    await site.begin(NARROW);
    await site.begin(NARROW);
    const place = { uri: door.uri, ledger, environment: shop.environment };
    const sdks = [await openNodeSdk(place, shop.sdkKey), await openBrowserSdk(place, shop.environmentId)];
    if (openPythonSdk) sdks.push(await openPythonSdk(place, shop.sdkKey));
    for (const sdk of sdks) closeLater(() => sdk.close());
    const mostPerBody = LONG ? 1_000 : 50;
    let killed = 0;
    for (let phase = 0; phase < phases; phase++) {
      const name = names[phase % names.length] ?? '';
      const until0 = ledger.accepted + perPhase / 2;
      const half = () => until('half of the events of a phase to be accepted', () => ledger.accepted >= until0);
      const share = random();
      const [mine, theirs] = [Math.floor(share * perPhase), perPhase - Math.floor(share * perPhase)];
      const sent = Promise.all([
        send(site, mine, { mostPerBody }),
        send(site, theirs, { mostPerBody, ...toOther }),
        ...sdks.map((sdk) => sdk.send(perSdk)),
      ]);
      await Promise.all([faults[name]?.(site, half), half()]);
      receiver.react = accept;
      await sent;
      await site.settled();
      killed = await expectTrueBooks(site);
    }
    const account = await site.account();
    killed = await expectTrueBooks(site);
    expect(account.accepted).toBeGreaterThanOrEqual(phases * perPhase);
    expect(account.accepted).toBe(account.delivered + account.missing);
    expect(account.delivered).toBeGreaterThan(account.accepted / 2);
    const { offered, accepted, delivered, missing, dropped, repeated } = account;
    process.stderr.write(
      `events: ${JSON.stringify({ seed: SEED, relays: (await site.books()).length, offered, accepted, delivered, missing, dropped, killed, repeated, payloadsAgain: receiver.repeatedPayloads })}\n`,
    );
  });
});
