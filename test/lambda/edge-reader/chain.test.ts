/** Call chains: decisions that travel from service to service. The tests move the clock. */
import { createHmac } from 'node:crypto';
import { type ChainOptions, createChain, createChainReport } from '../../../lambda/edge-reader/chain.ts';
import {
  createOfflineReader,
  createReader,
  type Decision,
  type EvaluationContext,
  type Reader,
  type ReaderStatus,
} from '../../../lambda/edge-reader/index.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { eventually } from '../../support/eventually.ts';
import { randomFrom, toJson } from '../../support/random.ts';
import { type Replica, startReplica } from './replica.ts';
import { item, putDelta, putSnapshot } from './table-writer.ts';

const SECRET = 'a secret of thirty-two characters';
const keys = [{ id: 'one', secret: SECRET }];
const alice = { kind: 'user', key: 'alice' };
const bob = { kind: 'user', key: 'bob' };
const clock = { now: 1_760_000_000_000 };
const now = () => clock.now;

const readerOf = (flagValues: Record<string, unknown>) => createOfflineReader({ flagValues });
const chainOf = (flagValues: Record<string, unknown>, more: Partial<ChainOptions> = {}) =>
  createChain({ reader: readerOf(flagValues), prefix: 'p', keys, now, ...more });

/** What a service that decided these flags sends on. */
async function sent(flagValues: Record<string, unknown>, more: Partial<ChainOptions> = {}, context = alice) {
  const call = chainOf(flagValues, more).join({}, context);
  for (const flagKey of Object.keys(flagValues)) await call.variation(flagKey, context, 'none');
  return call.headers();
}

describe('the second service', () => {
  test('answers as the first, whatever it holds itself, and says so', async () => {
    const headers = await sent({ checkout: 'new', limit: 3, on: true, theme: { dark: [1] }, nothing: null });
    const seen: Decision[] = [];
    const chained: string[] = [];
    const report = {
      onDecision: (decision: Decision) => void seen.push(decision),
      chained: (how: string) => void chained.push(how),
      handled() {},
    };
    clock.now += 1_000;
    const world = chainOf({ checkout: 'old', limit: 4, on: false, theme: {}, own: 'mine' }, { report });
    const call = world.join(headers, { ...alice });
    const decided = { value: 'new', variationIndex: 0, reason: { kind: 'FALLTHROUGH' } };
    expect(await call.variationDetail('checkout', alice, 'none')).toEqual(decided);
    expect(await call.stringVariationDetail('checkout', { ...alice, plan: 'gold' } as never, 'none')).toEqual(decided);
    expect(call.evaluate('checkout', alice, 'none')).toEqual(decided);
    expect(await call.numberVariation('limit', alice, 0)).toBe(3);
    expect(await call.boolVariation('on', alice, false)).toBe(true);
    expect(await call.jsonVariation('theme', alice, {})).toEqual({ dark: [1] });
    expect(await call.variation('nothing', alice, 'none')).toBe(null);
    expect(await call.variation('own', alice, 'none')).toBe('mine');
    expect(call.chained()).toEqual({ received: 'used', reason: undefined, ageMs: 1_000, revision: 'unknown' });
    expect(chained).toEqual(['used']);
    // Those of the header; the reader tells of its own.
    expect(seen).toHaveLength(7);
    expect(seen[0]).toMatchObject({ flagKey: 'checkout', detail: decided, fallback: 'none', ms: 0 });
  });

  test('answers a question for another type as an SDK does', async () => {
    const call = chainOf({}).join(await sent({ checkout: 'new' }), alice);
    const wrong = { value: false, variationIndex: null, reason: { kind: 'ERROR', errorKind: 'WRONG_TYPE' } };
    expect(await call.boolVariationDetail('checkout', alice, false)).toEqual(wrong);
    expect(await call.numberVariation('checkout', alice, 7)).toBe(7);
  });

  test('does not use them for another user', async () => {
    const world = chainOf({ checkout: 'old' });
    const headers = await sent({ checkout: 'new' });
    const call = world.join(headers, bob);
    expect(await call.variation('checkout', bob, 'none')).toBe('old');
    expect(call.chained()).toMatchObject({ received: 'ignored', reason: 'other-context' });
    // Nor beside the one that they are for.
    const beside = world.join(headers, alice);
    expect(await beside.variation('checkout', bob, 'none')).toBe('old');
    expect(await beside.variation('checkout', { kind: 'organization', key: 'alice' }, 'none')).toBe('old');
    expect(await beside.variation('checkout', alice, 'none')).toBe('new');
  });

  test('knows kinds and keys apart, in any order and form', async () => {
    const organization = { kind: 'organization', key: 'acme' };
    const namesake = { kind: 'user', key: 'organization:acme' };
    const both = { kind: 'multi', user: { key: 'alice' }, organization: { key: 'acme' } } as const;
    const turned = { kind: 'multi', organization: { key: 'acme', name: 'Acme' }, user: { key: 'alice' } } as const;
    const received = async (context: EvaluationContext, other: EvaluationContext) => {
      const call = chainOf({ a: 1 }).join({}, context);
      await call.variation('a', context, 0);
      return chainOf({}).join(call.headers(), other).chained().received;
    };
    expect(await received(organization, namesake)).toBe('ignored');
    expect(await received(both, alice)).toBe('ignored');
    expect(await received(both, turned)).toBe('used');
    expect(await received(alice, { key: 'alice', custom: { plan: 'gold' } })).toBe('used');
  });

  test('takes over the fallback of a service that could not read its flags', async () => {
    const call = chainOf({}).join({}, alice);
    expect(await call.variation('gone', alice, 'first')).toBe('first');
    const next = chainOf({ gone: 'back' }).join(call.headers(), alice);
    expect(await next.variationDetail('gone', alice, 'second')).toEqual({
      ...{ value: 'first', variationIndex: null, reason: { kind: 'ERROR', errorKind: 'FLAG_NOT_FOUND' } },
    });
  });

  test('sends on what it was told and what it decided, as old as the first of it', async () => {
    const first = await sent({ a: 1 });
    clock.now += 20_000;
    const second = chainOf({ a: 2, b: 2 }).join(first, alice);
    await second.variation('b', alice, 0);
    clock.now += 9_000;
    const third = chainOf({}).join(second.headers(), alice);
    expect(await third.variation('a', alice, 0)).toBe(1);
    expect(await third.variation('b', alice, 0)).toBe(2);
    expect(third.chained().ageMs).toBe(29_000);
    clock.now += 2_000;
    const late = chainOf({}).join(third.headers(), alice);
    expect(late.chained()).toMatchObject({ received: 'ignored', reason: 'expired' });
  });

  test('may answer with what it decided, and the first goes by it', async () => {
    const first = chainOf({ a: 1, b: 1 }).join({}, alice);
    await first.variation('a', alice, 0);
    const second = chainOf({ a: 2, b: 2 }).join(first.headers(), alice);
    await second.variation('b', alice, 0);
    first.learn(second.headers());
    expect(await first.variation('a', alice, 0)).toBe(1);
    expect(await first.variation('b', alice, 0)).toBe(2);
    first.learn({ baggage: 'edge-flags=nonsense' });
    expect(await first.variation('b', alice, 0)).toBe(2);
  });
});

test('a flag has one answer in a request, even if it changes meanwhile', async () => {
  const values = ['first', 'second', 'third'];
  const reader = readerOf({ checkout: 'none' });
  const changing: Reader = {
    ...reader,
    variationDetail: async () => ({ value: values.shift(), variationIndex: 0, reason: { kind: 'OFF' } }),
  };
  const call = chainOf({}, { reader: changing }).join({}, alice);
  const both = await Promise.all([call.variation('checkout', alice, ''), call.variation('checkout', alice, '')]);
  expect(both).toEqual(['first', 'first']);
  expect(await call.variation('checkout', alice, '')).toBe('first');
  // What observes the reader would have counted an evaluation that nobody got.
  expect(values).toEqual(['second', 'third']);
});

test('what another service decided is no answer of the own bootstrap, and not as old as the own data', async () => {
  const headers = await sent({ checkout: 'new' });
  const lines: string[] = [];
  const status = () => ({ state: 'loading', source: 'held', ageMs: 7_000, message: '' }) as ReaderStatus;
  const report = createChainReport({ namespace: 'n' }, status, { now, write: (line) => lines.push(line) });
  const call = chainOf({}, { reader: { ...readerOf({}), status }, report }).join(headers, alice);
  expect(await call.variation('checkout', alice, 'none')).toBe('new');
  expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ decided: { checkout: { new: 1 } }, Fallbacks: 0 });
  expect(JSON.parse(lines.at(-1) ?? '')).not.toHaveProperty('DataAge');
  report.onDecision({
    ...{ flagKey: 'own', context: alice, fallback: 0, ms: 0 },
    detail: { value: 'x', variationIndex: 0, reason: { kind: 'OFF' } },
  });
  clock.now += 60_000;
  call.evaluate('checkout', alice, 'none');
  expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ fallbacks: { BOOTSTRAP: 1 }, DataAge: 7 });
});

test('the state of all flags agrees with what was decided', async () => {
  const call = chainOf({ a: 'mine', b: 'mine' }).join(await sent({ a: 'theirs', c: 'theirs' }), alice);
  expect(await call.allFlagsState(alice, { withReasons: true })).toEqual({
    ...{ a: 'theirs', b: 'mine', $valid: true },
    $flagsState: {
      a: { variation: 0, version: 1, reason: { kind: 'FALLTHROUGH' } },
      b: { variation: 0, version: 1, reason: { kind: 'FALLTHROUGH' } },
    },
  });
  expect(await call.allFlagsState(bob)).toMatchObject({ a: 'mine' });
});

describe('the header', () => {
  // W3C, "Baggage HTTP header format": 3.3.1, tokens and baggage octets.
  const MEMBER = /^[!#$%&'*+.^_`|~\w-]+=[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$/;

  test('is a member of W3C Baggage of a few hundred bytes, which libraries that decode and encode leave as it is', async () => {
    const { baggage = '' } = await sent({ 'canary-checkout': 'canary', 'site-banner': false, limit: 20 });
    expect(baggage).toMatch(MEMBER);
    expect(baggage.length).toBeLessThan(400);
    const [name, value = ''] = baggage.split('=');
    expect([name, encodeURIComponent(decodeURIComponent(value))]).toEqual(['edge-flags', value]);
  });

  test('keeps the other members of what came in, or of what is sent', async () => {
    const others = 'user=a%20b;private , trace=1;x=y,empty=';
    const call = chainOf({ a: 1 }).join({ Baggage: ['one=1', others] }, alice);
    expect(call.headers()).toEqual({ baggage: 'one=1,user=a%20b;private,trace=1;x=y,empty=' });
    await call.variation('a', alice, 0);
    expect(call.headers().baggage).toMatch(/^one=1,user=a%20b;private,trace=1;x=y,empty=,edge-flags=one\.[^,]+$/);
    expect(call.headers({ baggage: 'mine=1' }).baggage).toMatch(/^mine=1,edge-flags=/);
    expect(call.headers(new Headers({ baggage: 'mine=1' })).baggage).toMatch(/^mine=1,edge-flags=/);
    expect(chainOf({}).join(null, alice).headers()).toEqual({});
    // Nothing in it becomes another header, and an old member of ours is replaced.
    const odd = chainOf({}).join({ baggage: 'a=1\r\nx: y,b=2,edge-flags=old' }, alice);
    expect(odd.headers()).toEqual({ baggage: 'b=2' });
  });

  test('may be one of your own, and several environments may meet', async () => {
    const own = { header: 'x-flag-chain', member: 'flags' };
    const headers = await sent({ a: 1 }, own);
    expect(Object.keys(headers)).toEqual(['x-flag-chain']);
    expect(headers['x-flag-chain']).toMatch(/^flags=/);
    expect(await chainOf({}, own).join(new Headers(headers), alice).variation('a', alice, 0)).toBe(1);
    const other = { prefix: 'q', member: 'other' };
    const call = chainOf({ b: 2 }, other).join(await sent({ a: 1 }), alice);
    await call.variation('b', alice, 0);
    const both = call.headers();
    expect(await chainOf({}).join(both, alice).variation('a', alice, 0)).toBe(1);
    expect(await chainOf({}, other).join(both, alice).variation('b', alice, 0)).toBe(2);
  });

  test('has at most 8,192 bytes with the others, and no large value; what does not travel is decided by each', async () => {
    const many = Object.fromEntries(Array.from({ length: 400 }, (_, index) => [`flag-number-${index}`, index]));
    const text = 'x'.repeat(600);
    const call = chainOf({ text, ...many }).join({ baggage: `other=${'y'.repeat(4_000)}` }, alice);
    for (const key of ['text', ...Object.keys(many)]) await call.variation(key, alice, 0);
    const headers = call.headers();
    expect(headers.baggage!.length).toBeLessThanOrEqual(8_192);
    expect(headers.baggage!.length).toBeGreaterThan(8_000);
    const next = chainOf({ text: 'short', 'flag-number-399': -1 }).join(headers, alice);
    expect(await next.variation('flag-number-0', alice, -1)).toBe(0);
    expect(await next.variation('flag-number-399', alice, 0)).toBe(-1);
    expect(await next.variation('text', alice, '')).toBe('short');
    const full = chainOf({ a: 1 }).join({ baggage: `other=${'y'.repeat(8_180)}` }, alice);
    await full.variation('a', alice, 0);
    expect(full.headers()).toEqual({ baggage: `other=${'y'.repeat(8_180)}` });
  });

  test('has no decision that has no JSON, and none that throws when it is written', async () => {
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    const thrown = () => {
      throw new Error('mine');
    };
    let times = 0;
    const once = { toJSON: () => (times++ === 0 ? 'once' : thrown()) };
    const call = chainOf({ a: 1 }).join({}, alice);
    const fallbacks = Object.entries({ big: 1n, circular, thrown: { toJSON: thrown }, once });
    for (const [flagKey, fallback] of fallbacks) expect(await call.variation(flagKey, alice, fallback)).toBe(fallback);
    for (const flagKey of [{ toString: thrown }, Symbol('x'), 5]) await call.variation(flagKey as never, alice, 0);
    await call.variation('a', alice, 0);
    const payload = Buffer.from(call.headers().baggage!.split('.')[1]!, 'base64url').toString();
    expect(Object.keys(JSON.parse(payload).d)).toEqual(['once', 'a']);
    const next = chainOf({ a: 2, big: 3 }).join(call.headers(), alice);
    expect(next.chained()).toMatchObject({ received: 'used' });
    expect([await next.variation('a', alice, 0), await next.variation('big', alice, 0)]).toEqual([1, 3]);
  });

  test('names no user and no secret', async () => {
    const { baggage = '' } = await sent({ a: 1 });
    const payload = Buffer.from(baggage.split('.')[1]!, 'base64url').toString();
    expect(JSON.parse(payload)).toEqual({
      c: expect.stringMatching(/^[\w-]{16}$/),
      t: clock.now,
      d: { a: [0, 1, 'FALLTHROUGH'] },
    });
    expect(baggage + payload).not.toMatch(/alice|secret/);
  });
});

describe('a header is not used, and no exception', () => {
  const sign = (text: string, prefix = 'p', secret = SECRET) =>
    `${text}.${createHmac('sha256', secret).update(`edge-flags 1\n${prefix}\n${text}`).digest('base64url')}`;
  const base64 = (text: string) => Buffer.from(text).toString('base64url');
  const contextHash = createHmac('sha256', SECRET)
    .update('edge-flags context\n[["user","alice"]]')
    .digest('base64url')
    .slice(0, 16);
  const of = (content: object) =>
    sign(`one.${base64(JSON.stringify({ c: contextHash, t: clock.now, d: {}, ...content }))}`);

  test('the signature is the documented one', async () => {
    const call = chainOf({}).join({ baggage: `edge-flags=${of({ d: { a: [1, 'x', 'OFF'] } })}` }, alice);
    expect(await call.variationDetail('a', alice, '')).toEqual({
      value: 'x',
      variationIndex: 1,
      reason: { kind: 'OFF' },
    });
  });

  test.each<[string, () => string, string]>([
    ['nothing', () => '', 'malformed'],
    ['other text', () => '%00;x', 'malformed'],
    ['an unknown key', () => of({}).replace(/^one/, 'two'), 'unknown-key'],
    ['a changed payload', () => of({}).replace(/\..{4}/, '.AAAA'), 'signature'],
    ['another secret', () => sign(`one.${base64('{}')}`, 'p', `${SECRET}!`), 'signature'],
    ['another environment', () => sign(`one.${base64('{}')}`, 'q'), 'signature'],
    ['a signature that is cut', () => of({}).slice(0, -1), 'malformed'],
    ['no JSON', () => sign(`one.${base64('{')}`), 'malformed'],
    ['null', () => sign(`one.${base64('null')}`), 'malformed'],
    ['another user', () => of({ c: 'x' }), 'other-context'],
    ['no time', () => of({ t: '1' }), 'malformed'],
    ['an odd revision', () => of({ r: 1 }), 'malformed'],
    ['no decisions', () => of({ d: null }), 'malformed'],
    ['decisions of another form', () => of({ d: { a: 1 } }), 'malformed'],
    ['a variation that is none', () => of({ d: { a: ['x', 1, 'OFF'] } }), 'malformed'],
    ['a reason that is none', () => of({ d: { a: [0, 1, null] } }), 'malformed'],
    ['old decisions', () => of({ t: clock.now - 30_001 }), 'expired'],
    ['decisions of the future', () => of({ t: clock.now + 5_001 }), 'expired'],
    ['9,000 bytes', () => of({ d: { a: [0, 'x'.repeat(9_000), 'OFF'] } }), 'oversize'],
  ])('with %s', async (_, text, reason) => {
    const chained: string[] = [];
    const report = { onDecision() {}, handled() {}, chained: (how: string) => void chained.push(how) };
    const call = chainOf({ a: 'own' }, { report }).join({ baggage: `edge-flags=${text()}` }, alice);
    expect(call.chained()).toMatchObject({ received: 'ignored', reason });
    expect(chained).toEqual([reason]);
    expect(await call.variation('a', alice, 'none')).toBe('own');
  });

  test('whatever comes @heavy', async () => {
    const random = randomFrom(process.env.SEED ?? 'chain');
    const good = of({ d: { a: [0, 1, 'OFF'] } });
    for (let round = 0; round < (process.env.LONG ? 20_000 : 500); round += 1) {
      const at = Math.floor(random() * good.length);
      const odd = String.fromCharCode(Math.floor(random() * 300));
      const text = good.slice(0, at) + (random() < 0.5 ? odd : '') + good.slice(at + Math.floor(random() * 3));
      const call = chainOf({ a: 'own' }).join({ baggage: `x=1,edge-flags=${text},y=2` }, alice);
      const value = await call.variation('a', alice, 'none');
      if (text === good) expect(value).toBe(1);
      else expect([toJson(text), value]).toEqual([toJson(text), 'own']);
    }
  });

  test.each([
    null,
    undefined,
    7,
    {},
    { kind: 'user' },
    {
      get key() {
        throw new Error('mine');
      },
    },
  ])('for the context %#', async (context) => {
    const headers = await sent({ a: 1 });
    const call = chainOf({ a: 2 }).join(headers, context as never);
    expect(call.chained()).toMatchObject({ received: 'ignored', reason: 'other-context' });
    const { reason } = await call.variationDetail('a', context as never, 0);
    expect(reason.kind).toBe('ERROR');
    expect(call.headers()).toEqual({});
  });

  test('headers that throw count as none', () => {
    const headers = new Proxy(
      {},
      {
        ownKeys() {
          throw new Error('mine');
        },
      },
    );
    expect(chainOf({}).join(headers, alice).chained()).toMatchObject({ received: 'none' });
  });

  test('what is no text is no header', async () => {
    for (const value of [7, {}, Symbol('x'), Promise.resolve('a')]) {
      const call = chainOf({ a: 1 }).join({ get: () => value } as never, alice);
      expect(call.chained()).toMatchObject({ received: 'none' });
      expect(await call.variation('a', alice, 0)).toBe(1);
    }
  });
});

test('secrets are changed in three deployments: accept both, sign with the new one, forget the old one', async () => {
  const next = { id: 'two', secret: `${SECRET}, another one` };
  const steps = [keys, [...keys, next], [next, ...keys], [next]];
  for (const [index, mine] of steps.entries()) {
    for (const theirs of [steps[index - 1] ?? mine, mine, steps[index + 1] ?? mine]) {
      const headers = await sent({ a: 1 }, { keys: theirs });
      expect(await chainOf({}, { keys: mine }).join(headers, alice).variation('a', alice, 0)).toBe(1);
    }
  }
  const call = chainOf({}, { keys: [next] }).join(await sent({ a: 1 }), alice);
  expect(call.chained()).toMatchObject({ received: 'ignored', reason: 'unknown-key' });
});

test('every problem of the options is said at once', () => {
  const odd = {
    keys: [{ id: 'a b', secret: 'short' }],
    maxAgeMs: 0,
    waitMs: -1,
    header: 'Baggage',
    member: 'a=b',
    prefx: '',
  };
  expect(() => chainOf({}, odd as Partial<ChainOptions>)).toThrow(
    'edge reader: call chain: prefx is not an option: expected reader, prefix, keys, maxAgeMs, waitMs, header, member, report, now; keys[0].id is invalid: expected 1 to 32 characters from a-z A-Z 0-9 _ -; ' +
      'keys[0].secret is invalid: expected at least 32 characters; maxAgeMs=0 is invalid: expected an integer of at least 1; ' +
      'waitMs=-1 is invalid: expected an integer of at least 0; header="Baggage" is invalid: expected the name of a header in lower case; ' +
      'member="a=b" is invalid: expected 1 to 64 characters of a token in lower case',
  );
  expect(() => chainOf({}, { keys: [] })).toThrow('keys are missing');
});

describe('the revision', () => {
  const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
  let table: TestTable;
  let replica: Replica;
  let prefix: string;
  let prefixes = 0;
  const flag = (key: string, value: string, version: number) =>
    item('features', { key, version, on: true, fallthrough: { variation: 0 }, variations: [value], salt: '' });

  beforeAll(async () => {
    table = await startTable();
  });
  beforeEach(async () => {
    prefix = `p${++prefixes}`;
    replica = await startReplica(table.endpoint);
    await putSnapshot(table, prefix, [flag('a', 'old', 1), flag('b', 'old', 1)], { epoch: 1, seq: 1 });
  });
  afterEach(() => replica.close());
  afterAll(() => table.close());

  const reader = (endpoint: string) =>
    createReader(
      {
        ...{ tableName: table.tableName, prefix, endpoint, replicas: { default: ['eu-west-1'] } },
        ...{ coldDeadlineMs: 60_000, maxWaitMs: 60_000, refreshMs: 3_600_000 },
      },
      { env },
    );
  const publish = () =>
    putDelta(table, prefix, [flag('a', 'new', 2), flag('b', 'new', 2)], { epoch: 1, seq: 2 }, { epoch: 1, seq: 1 });
  const counting = () => {
    const counts: string[] = [];
    return { counts, report: { onDecision() {}, handled() {}, chained: (how: string) => void counts.push(how) } };
  };

  test('of the first service is read for a flag that it did not decide @heavy', async () => {
    const { counts, report } = counting();
    const behind = reader(replica.endpoint);
    await behind.ready();
    await publish();
    const first = createChain({ reader: reader(table.endpoint), prefix, keys }).join({}, alice);
    expect(await first.variation('a', alice, '')).toBe('new');
    const chain = createChain({ reader: behind, prefix, keys, waitMs: 60_000, report });
    const call = chain.join(first.headers(), alice);
    expect(call.chained()).toMatchObject({ received: 'used', revision: 'missed' });
    const asked = replica.asked.length;
    expect(await call.variation('a', alice, '')).toBe('new');
    expect(replica.asked).toHaveLength(asked);
    expect(await Promise.all([call.variation('b', alice, ''), call.variation('b', alice, '')])).toEqual(['new', 'new']);
    expect(replica.asked).toHaveLength(asked + 1);
    expect(call.chained()).toMatchObject({ received: 'used', revision: 'held' });
    expect(counts).toEqual(['used']);
  });

  test.each([
    ['beside one that came with the request', 'held', true],
    ['without one', 'unknown', false],
  ])(
    'that came with an answer, %s, is read for flags that are asked for afterwards',
    async (_how, before, isBeside) => {
      const { counts, report } = counting();
      const behind = reader(replica.endpoint);
      await behind.ready();
      const decided = async (from: Reader) => {
        const call = createChain({ reader: from, prefix, keys }).join({}, alice);
        await call.variation('b', alice, '');
        return call.headers();
      };
      const headers = isBeside ? await decided(behind) : {};
      await publish();
      const call = createChain({ reader: behind, prefix, keys, waitMs: 60_000, report }).join(headers, alice);
      expect(call.chained().revision).toBe(before);
      call.learn(await decided(reader(table.endpoint)));
      expect(call.chained().revision).toBe('missed');
      expect(await call.variation('a', alice, '')).toBe('new');
      expect(call.chained().revision).toBe('held');
      expect(counts).toEqual(isBeside ? ['used', 'used'] : ['used']);
    },
  );

  test('that came with an answer is waited for by the state of all flags, too', async () => {
    const behind = reader(replica.endpoint);
    await behind.ready();
    await publish();
    const newest = createChain({ reader: reader(table.endpoint), prefix, keys }).join({}, alice);
    await newest.variation('b', alice, '');
    const call = createChain({ reader: behind, prefix, keys, waitMs: 60_000 }).join({}, alice);
    call.learn(newest.headers());
    expect(await call.allFlagsState(alice)).toMatchObject({ a: 'new', b: 'new' });
  });

  test('that came with an answer is not waited for longer than it may be, and once', async () => {
    const { counts, report } = counting();
    const behind = reader(replica.endpoint);
    await behind.ready();
    await publish();
    const newest = createChain({ reader: reader(table.endpoint), prefix, keys }).join({}, alice);
    await newest.variation('c', alice, '');
    replica.behave('hang');
    const refresh = jest.spyOn(behind, 'refresh');
    const call = createChain({ reader: behind, prefix, keys, report }).join({}, alice);
    call.learn(newest.headers());
    expect(await call.variation('a', alice, '')).toBe('old');
    expect(call.chained().revision).toBe('missed');
    const times = refresh.mock.calls.length;
    expect(times).toBeGreaterThan(0);
    expect(await call.variation('b', alice, '')).toBe('old');
    expect(refresh).toHaveBeenCalledTimes(times);
    expect(counts).toEqual(['used', 'missed']);
  });

  test('is not waited for longer than it may be, by one request a second, which says so @heavy', async () => {
    const { counts, report } = counting();
    const behind = reader(replica.endpoint);
    await behind.ready();
    await publish();
    const first = createChain({ reader: reader(table.endpoint), prefix, keys }).join({}, alice);
    await first.variation('a', alice, '');
    replica.behave('hang');
    let frozenAt: number | undefined;
    const chain = createChain({
      ...{ reader: behind, prefix, keys, report },
      // Each look at the clock takes a ms, so that a wait would end.
      now: () => (frozenAt === undefined ? Date.now() : frozenAt++),
    });
    const call = chain.join(first.headers(), alice);
    expect(await call.variation('b', alice, '')).toBe('old');
    expect(call.chained()).toMatchObject({ received: 'used', revision: 'missed' });
    expect(counts).toEqual(['used', 'missed']);
    // The next service is told the revision all the same.
    const third = createChain({ reader: reader(table.endpoint), prefix, keys }).join(call.headers(), alice);
    expect(await third.variation('b', alice, '')).toBe('old');
    frozenAt = Date.now();
    const refresh = jest.spyOn(behind, 'refresh');
    expect(await chain.join(first.headers(), alice).variation('b', alice, '')).toBe('old');
    expect(refresh).not.toHaveBeenCalled();
    expect(counts).toEqual(['used', 'missed', 'used', 'missed']);
    frozenAt += 1_000;
    expect(await chain.join(first.headers(), alice).variation('b', alice, '')).toBe('old');
    expect(refresh).toHaveBeenCalled();
  });

  test('means nothing to a reader without a table, which does not wait', async () => {
    const { counts, report } = counting();
    const first = createChain({ reader: reader(table.endpoint), prefix, keys }).join({}, alice);
    await first.variation('a', alice, '');
    const refresh = jest.fn();
    const offline = { ...createOfflineReader({ flagValues: { b: 'default' } }), refresh };
    const call = createChain({ reader: offline, prefix, keys, report }).join(first.headers(), alice);
    expect(await call.variation('a', alice, '')).toBe('old');
    expect(await call.variation('b', alice, '')).toBe('default');
    expect(call.chained()).toMatchObject({ received: 'used', revision: 'unknown' });
    expect([refresh.mock.calls, counts]).toEqual([[], ['used']]);
  });

  test('is read again while the replica is behind', async () => {
    const behind = reader(replica.endpoint);
    await behind.ready();
    const ahead = reader(table.endpoint);
    await ahead.ready();
    // The first service has read it elsewhere.
    const elsewhere: Reader = { ...ahead, status: () => ({ ...ahead.status(), rev: '000000000000000001.0000000002' }) };
    const first = createChain({ reader: elsewhere, prefix, keys }).join({}, alice);
    await first.variation('a', alice, '');
    const chain = createChain({ reader: behind, prefix, keys, waitMs: 60_000 });
    const asked = replica.asked.length;
    const answer = chain.join(first.headers(), alice).variation('b', alice, '');
    await eventually(() => expect(replica.asked.length).toBeGreaterThan(asked + 2));
    await publish();
    expect(await answer).toBe('new');
  });
});

test('what a report throws is written to the log, and harms no answer', async () => {
  const thrown = new Error('mine');
  const fail = () => {
    throw thrown;
  };
  const said = jest.spyOn(console, 'error').mockImplementation(() => {});
  const reports = [
    { onDecision: fail, chained: fail, handled: fail },
    { onDecision: async () => fail(), chained: async () => fail(), handled: async () => fail() },
  ];
  try {
    for (const report of reports) {
      const call = chainOf({ a: 1 }, { report: report as never }).join({ baggage: 'edge-flags=zz' }, alice);
      expect([await call.variation('a', alice, 0), await call.variation('a', alice, 0)]).toEqual([1, 1]);
      call.done({ ms: 1 });
      await eventually(() => {
        const names = said.mock.calls.map(([line, error]) => [line, error === thrown]);
        expect(names).toEqual(['chained', 'onDecision', 'handled'].map((name) => [`edge reader: ${name} threw`, true]));
      });
      said.mockClear();
    }
  } finally {
    said.mockRestore();
  }
});

test('variations are compared by the requests that they decided about', async () => {
  const lines: Record<string, unknown>[] = [];
  const reader = readerOf({ checkout: 'new', other: 1 });
  const report = createChainReport({ namespace: 'Shop', flags: ['checkout'] }, reader.status, {
    now,
    write: (line) => lines.push(JSON.parse(line)),
  });
  const chain = createChain({ reader, prefix: 'p', keys, report, now });
  const headers = await sent({ checkout: 'old' });
  for (let request = 0; request < 150; request += 1) {
    const call = chain.join(request % 3 === 0 ? headers : { baggage: 'edge-flags=x' }, alice);
    await call.variation('checkout', alice, '');
    await call.variation('other', alice, '');
    call.done({ ms: request, failed: request % 5 === 0 });
  }
  clock.now += 60_000;
  report.decided({ flagKey: 'checkout', variation: 'new', ms: 0 });
  expect(lines.at(-1)).toMatchObject({
    ...{
      'checkout=old:requests': 50,
      'checkout=old:errors': 10,
      'checkout=new:requests': 100,
      'checkout=new:errors': 20,
    },
    // The first line came with the first decision.
    chains: { used: 49, malformed: 100 },
  });
  expect(lines.at(-1)!['checkout=old:ms']).toEqual(Array.from({ length: 50 }, (_, index) => index * 3));
  expect(lines.at(-1)!['checkout=new:ms']).toHaveLength(100);
  const { CloudWatchMetrics } = lines.at(-1)!._aws as {
    CloudWatchMetrics: [{ Metrics: { Name: string; Unit: string }[] }];
  };
  const units = Object.fromEntries(CloudWatchMetrics[0].Metrics.map(({ Name, Unit }) => [Name, Unit]));
  expect(units).toMatchObject({
    ...{ 'checkout=old:requests': 'Count', 'checkout=old:errors': 'Count', 'checkout=old:ms': 'Milliseconds' },
  });
  expect(Object.keys(units)).not.toContain('other=1:requests');
});
