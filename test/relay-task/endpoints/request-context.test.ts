/** What identifies a context: two requests share an answer, a tag and a stream's flags exactly if their contexts are the same. */
import { type Context, parseGoContext } from '../../../lib/evaluation/index.ts';
import { resultOf } from '../../../relay-task/common/slices.ts';
import { holdContext } from '../../../relay-task/endpoints/held-context.ts';
import { contextFromBody } from '../../../relay-task/endpoints/request-context.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { RandomChoices, randomFrom } from '../../support/random.ts';
import { ask, json } from './ask.ts';
import { startServer } from './start-server.ts';

const { opened } = closeAfterEach();
const read = (text: string) => resultOf(contextFromBody(json, Buffer.from(text)));

const staff = '"email":"staff@example.com"';
const guest = '"custom":{"email":"guest@example.com"}';
const large = `"custom":{"email":"guest@example.com","note":"${'x'.repeat(9_000)}"}`;

test.each([
  ['small', guest],
  ['large, and kept compressed', large],
])(
  'of an attribute that a legacy user has twice, the later one counts in polls, tags and streams: %s',
  async (_, custom) => {
    const match = {
      variation: 1,
      clauses: [{ attribute: 'email', op: 'in', values: ['staff@example.com'], negate: false }],
    };
    const { port } = opened(
      await startServer({ view: createMemory(flag('f', 1, { rules: [match], variations: ['other', 'match'] })) }),
    );
    const poll = (body: string, tag = '') =>
      ask(port, 'POST', '/sdk/evalx/64a0/context', { headers: { ...json, 'if-none-match': tag }, body });
    const users = { other: `{"key":"u",${staff},${custom}}`, match: `{"key":"u",${custom},${staff}}` };
    const first = await poll(users.other);
    const second = await poll(users.match, first.headers.etag);
    expect([first.json().f.value, second.status, second.json().f.value]).toEqual(['other', 200, 'match']);
    expect((await poll(users.match, second.headers.etag)).status).toBe(304);
    // As streams do: what is held is read again.
    const held = Object.values(users).map((text) => holdContext(read(text)));
    expect(held.map((context) => parseGoContext(context.read())?.ofKind('user')?.email)).toEqual([
      'guest@example.com',
      'staff@example.com',
    ]);
    expect(new Set(held.map(({ id }) => id)).size).toBe(2);
  },
);

test.each(['{"kind":"user","key":"a","n":1e400}', '{"key":"a","custom":{"list":[{"n":-1e400}]}}'])(
  'a number that no double holds is refused, as LaunchDarkly refuses it: %s',
  async (body) => {
    const { port, logged } = opened(await startServer({ view: createMemory(flag('f', 1)) }));
    const inPath = Buffer.from(body).toString('base64url');
    const refused = [
      await ask(port, 'POST', '/sdk/evalx/64a0/context', { headers: json, body }),
      await ask(port, 'GET', `/sdk/evalx/64a0/contexts/${inPath}`),
      await ask(port, 'GET', `/eval/64a0/${inPath}`),
    ];
    for (const { status, json } of refused) {
      expect([status, json().message]).toEqual([400, expect.stringMatching(/a number that is too large/)]);
    }
    const headers = { ...json, authorization: 'sdk-key' };
    const ofrep = await ask(port, 'POST', '/ofrep/v1/evaluate/flags', {
      headers,
      body: body.replace(/^.*$/, '{"context":$&}'),
    });
    expect([ofrep.status, ofrep.json().errorCode]).toEqual([400, 'INVALID_CONTEXT']);
    expect(logged).toEqual([]);
  },
);

class Contexts extends RandomChoices {
  text(): string {
    if (this.chance(0.3)) return this.object(['"kind":"org"', '"key":"k"', ...this.attributes()]);
    if (this.chance(0.2)) {
      const [a, b] = [this.object(['"key":"k"', ...this.attributes()]), this.object(['"key":"k"'])];
      return this.object(['"kind":"multi"', `"user":${a}`, `"org":${b}`]);
    }
    const custom = this.some(0.8, 1, () => `"custom":${this.chance(0.1) ? 'null' : this.object(this.attributes())}`);
    return this.object(['"key":"k"', ...custom, ...this.attributes(['"x"', 'null'])]);
  }
  private attributes(values = ['"x"', '"y"', '5', 'null', '[1,{"b":2,"a":0}]']): string[] {
    const names = ['email', 'name', 'secondary', 'ip', 'anonymous', '__proto__', 'plan', '7'];
    return names
      .filter(() => this.chance(0.4))
      .map((name) => `"${name}":${name === 'anonymous' ? this.pick(['true', 'false']) : this.pick(values)}`);
  }
  /** In any order. */
  private object(members: readonly string[]): string {
    const left = [...members];
    return `{${members.map(() => left.splice(this.whole(0, left.length - 1), 1)[0]).join(',')}}`;
  }
}

/** All that evaluation knows of a context. */
function knownOf(given: Context): unknown {
  const context = parseGoContext(given);
  return [...given.kinds].sort().map((kind) => {
    const attributes = context?.ofKind(kind) ?? {};
    return new Map(Reflect.ownKeys(attributes).map((name) => [name, attributes[name as string]]));
  });
}

const seed = process.env.SEED ?? String(Date.now());
test(`random contexts with the same canonical text are the same, and it reads as the same context again (SEED=${seed}) @heavy`, () => {
  const contexts = new Contexts(randomFrom(seed));
  const known = new Map<string, unknown>();
  let shared = 0;
  // Until some have shared a text, which a few hundred of a seed may happen not to.
  for (let count = process.env.LONG ? 20_000 : 500; count > 0 || (shared <= 5 && count > -20_000); count--) {
    const text = contexts.text();
    const value = JSON.parse(text);
    if (!parseGoContext(value)) continue;
    const { context, canonical } = read(text);
    const again = parseGoContext(JSON.parse(canonical));
    expect([text, again && knownOf(again)]).toEqual([text, knownOf(context)]);
    if (known.has(canonical)) shared += 1;
    else known.set(canonical, knownOf(context));
    expect([text, known.get(canonical)]).toEqual([text, knownOf(context)]);
  }
  expect(shared).toBeGreaterThan(5);
});
