/** With a spool, events that relays accepted reach LaunchDarkly whatever ends the relays: the balance sheet of `events-ledger.test.ts` without losses. */

import { openWindow } from '../interop/browser-globals.ts';
import { type EventsSite, other, shop, sitesOfTests } from '../support/events-ledger/events-site.ts';
import { createLedger } from '../support/events-ledger/ledger.ts';
import { openBrowserSdk, openNodeSdk, openPythonSdk, sendVolume } from '../support/events-ledger/producers.ts';
import { type EventReceiver, type Reaction, startEventReceiver } from '../support/events-ledger/receiver.ts';
import { eventually, until } from '../support/eventually.ts';
import { bundleRelay } from '../support/relay-process.ts';
import { newDirectory, startSpooling } from './events/spool-support.ts';
import { closeLater, custom, SDK_KEY, send as sendBody } from './events/support.ts';

const SEED = process.env.SEED ?? 'spool';
const LONG = Boolean(process.env.LONG);
const each = LONG ? 20_000 : 2_000;

const openSite = sitesOfTests();

test('an event that a relay leaves in the spool arrives once', async () => {
  const directory = newDirectory();
  const ledger = createLedger(1);
  ledger.offer(shop.environment, 1);
  const receiver = await startEventReceiver(ledger, { [SDK_KEY]: shop.environment });
  closeLater(receiver.close);
  receiver.react = () => 503;
  const first = startSpooling(receiver.uriFor(0), directory);
  await sendBody(first.intake, [custom(0, { metricValue: 0 })]);
  await first.forwarding.close(0);
  expect(ledger.arrivals).toBe(0);
  receiver.react = () => 202;
  const second = startSpooling(receiver.uriFor(1), directory);
  await eventually(async () => expect(await second.measured('events_forwarded_total')).toBe(1));
  expect([ledger.arrivals, receiver.events(), receiver.complaints]).toEqual([1, 1, []]);
});

type Volume = Parameters<typeof sendVolume>[0];

const send = ({ door, ledger, random }: EventsSite, count: number, more: Partial<Volume> = {}) =>
  sendVolume({ uri: door.uri, ledger, random, count, environment: shop.environment, credential: shop.sdkKey, ...more });

const toOther = { environment: other.environment, credential: other.sdkKey };
const accept = () => 202;

const troubled =
  ({ random }: EventsSite, troubles: readonly Reaction[]): EventReceiver['react'] =>
  () =>
    random() < 0.5 ? (troubles[Math.floor(random() * troubles.length)] ?? 503) : 202;

describe(`events in a spool (SEED=${SEED})`, () => {
  bundleRelay();

  /** As in production, but nothing is dropped for lack of a place. */
  async function open(events: number) {
    const site = await openSite({ seed: SEED, events });
    const spool = { EVENTS_SPOOL_DIR: newDirectory(), EVENTS_CAPACITY: '2000000' };
    return { site, begin: () => site.begin(spool) };
  }

  /** Everything arrived, once; again only where a sender got no answer and sent a body again. */
  async function expectAll(site: EventsSite): Promise<void> {
    const { ledger } = site;
    await eventually(() => expect(ledger.balance()).toMatchObject({ missing: 0 }));
    const account = await site.account();
    expect(account).toMatchObject({ accepted: account.offered, delivered: account.offered, dropped: {} });
    expect(account).toMatchObject({ refused: 0, unanswered: 0, repeatedWithoutDoubt: 0, neverTaken: 0, strayed: 0 });
    if (process.env.PRINT)
      process.stderr.write(`${JSON.stringify({ ...account, again: site.receiver.repeatedPayloads })}\n`);
  }

  test('survive SIGTERM while LaunchDarkly is away, and the next relay delivers them once @heavy', async () => {
    const { site, begin } = await open(3 * each);
    const first = await begin();
    await send(site, each);
    await site.receiver.leave();
    await send(site, each, toOther);
    expect(await site.stop(first)).toBe(0);
    await site.receiver.comeBack();
    await begin();
    await send(site, each);
    await expectAll(site);
    expect(site.ledger.balance().repeated).toBe(0);
  });

  test('survive SIGTERM while LaunchDarkly never answers @heavy', async () => {
    const { site, begin } = await open(2 * each);
    const first = await begin();
    site.receiver.react = () => 'hang';
    await Promise.all([send(site, each), send(site, each, toOther)]);
    expect(await site.stop(first)).toBe(0);
    site.receiver.react = accept;
    await begin();
    await expectAll(site);
    expect(site.ledger.balance().repeated).toBe(0);
  });

  test('survive SIGKILL in mid-flight, and come again only under the ID of the first time @heavy', async () => {
    const { site, begin } = await open((LONG ? 5 : 2) * each + each);
    let relay = await begin();
    for (let round = 0; round < (LONG ? 5 : 2); round++) {
      site.receiver.react = troubled(site, [503, 'reset', 'lost', 'hang']);
      const half = site.ledger.accepted + each / 2;
      const sent = Promise.all([send(site, each / 2), send(site, each / 2, toOther)]);
      await until('half of them to be accepted', () => site.ledger.accepted >= half);
      await site.kill(relay);
      site.receiver.release();
      site.receiver.react = accept;
      relay = await begin();
      await sent;
    }
    await send(site, each);
    await expectAll(site);
  });

  test('of a relay that is killed are delivered by another one that shares the directory @heavy', async () => {
    const { site, begin } = await open(2 * each);
    const [first] = [await begin(), await begin()];
    site.receiver.react = () => 'hang';
    await Promise.all([send(site, each), send(site, each, toOther)]);
    await site.kill(first);
    site.receiver.react = accept;
    site.receiver.release();
    await expectAll(site);
  });

  test('all arrive while relays are replaced and killed in turn and LaunchDarkly fails @heavy', async () => {
    const rounds = LONG ? 20 : 2;
    const perRound = LONG ? 50_000 : 1_500;
    const perSdk = 100;
    const { site, begin } = await open(rounds * (perRound + 3 * perSdk));
    await begin();
    await begin();
    const browser = openWindow('http://page.example');
    closeLater(() => browser.close());
    const place = { uri: site.door.uri, ledger: site.ledger, environment: shop.environment };
    const sdks = [await openNodeSdk(place, shop.sdkKey), await openBrowserSdk(place, shop.environmentId)];
    if (openPythonSdk) sdks.push(await openPythonSdk(place, shop.sdkKey));
    for (const sdk of sdks) closeLater(() => sdk.close());
    for (let round = 0; round < rounds; round++) {
      const half = site.ledger.accepted + perRound / 2;
      if (round % 3 === 2) await site.receiver.leave();
      else site.receiver.react = troubled(site, [503, 429, 'reset', 'lost', 'hang']);
      const mostPerBody = LONG ? 1_000 : 50;
      const sent = Promise.all([
        send(site, perRound / 2, { mostPerBody }),
        send(site, perRound / 2, { mostPerBody, ...toOther }),
      ]);
      await until('half of them to be accepted', () => site.ledger.accepted >= half);
      const [oldest] = site.lives;
      await begin();
      if (oldest && round % 2 === 0) await site.kill(oldest);
      else if (oldest) expect(await site.stop(oldest)).toBe(0);
      await sent;
      site.receiver.react = accept;
      site.receiver.release();
      await site.receiver.comeBack();
      await Promise.all(sdks.map((sdk) => sdk.send(perSdk)));
    }
    const offered = rounds * (perRound + sdks.length * perSdk);
    await until('what the SDKs sent to be accepted', () => site.ledger.accepted === offered);
    await expectAll(site);
  });
});
