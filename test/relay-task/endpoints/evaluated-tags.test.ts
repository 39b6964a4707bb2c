/** The tags of answers about all flags, while flags change. */
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { ask } from './ask.ts';
import { startServer } from './start-server.ts';

const { opened } = closeAfterEach();

const alice = { kind: 'user', key: 'alice' };
const inPath = Buffer.from(JSON.stringify(alice)).toString('base64url');
type Row = [what: string, method: string, path: string, body: unknown];
const routes: Row[] = [
  ['evalx', 'GET', `/sdk/evalx/64a0/contexts/${inPath}`, undefined],
  ['FDv2', 'GET', `/sdk/poll/eval/${inPath}`, undefined],
  ['OFREP', 'POST', '/ofrep/v1/evaluate/flags', { context: { targetingKey: 'alice' } }],
];

const started = async () => opened(await startServer({ view: createMemory(flag('f', 1), flag('g', 1)) }));

/** A poll of one route; `tag`: of the answer that the client holds. */
const polling =
  (port: number, [, method, path, body]: Row) =>
  (tag?: string) => {
    const headers = {
      authorization: '64a0',
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(tag !== undefined && { 'if-none-match': tag }),
    };
    return ask(port, method, path, { headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
  };

test.each(routes)('%s: a tag stands for the version in which a flag counts, also an earlier one', async (...route) => {
  const { port, environment } = await started();
  const poll = polling(port, route);
  environment.earlier = { flag: 'f', value: 'earlier' };
  const first = await poll();
  expect(first.text()).toContain('"earlier"');
  expect((await poll(first.headers.etag)).status).toBe(304);
  environment.earlier = undefined;
  const second = await poll(first.headers.etag);
  expect(second.status).toBe(200);
  expect(second.text()).not.toContain('"earlier"');
});

test.each(routes)('%s: a tag stands for the flags in the answer, if one changes meanwhile', async (...route) => {
  const { port, environment, view } = await started();
  const poll = polling(port, route);
  const { evaluateInSteps } = environment.clientView;
  let change = () => {};
  environment.clientView = {
    ...environment.clientView,
    *evaluateInSteps(...given) {
      const steps = evaluateInSteps(...given);
      yield;
      change();
      change = () => {};
      return yield* steps;
    },
  };
  change = () => view.set(flag('f', 2));
  const first = await poll();
  expect(first.text()).toMatch(/"version":2|"flagVersion":2|"key":"f"/);
  expect((await poll(first.headers.etag)).status).toBe(304);
});

test.each(routes)('%s: while flags keep changing, a tag stands for one answer', async (...route) => {
  const { port, environment, view } = await started();
  const poll = polling(port, route);
  const { evaluateInSteps } = environment.clientView;
  let version = 1;
  let isChanging = true;
  environment.clientView = {
    ...environment.clientView,
    *evaluateInSteps(...given) {
      const flags = yield* evaluateInSteps(...given);
      yield;
      // Of a version that these answers do not have.
      if (isChanging) view.set(flag('f', ++version, { variations: [version, 0], fallthrough: { variation: 0 } }));
      return flags;
    },
  };
  const first = await poll();
  expect(version).toBeGreaterThan(2);
  isChanging = false;
  // As it was when the first answer was begun.
  view.set(flag('f', 1));
  const second = await poll(first.headers.etag);
  expect(second.status).toBe(200);
  expect(second.text()).not.toBe(first.text());
});
