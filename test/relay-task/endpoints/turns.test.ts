/** Requests without a credential take their turns like others. */
import { createBudget } from '../../../relay-task/common/budget.ts';
import type { Lanes } from '../../../relay-task/common/fair-queue.ts';
import type { FairTurns } from '../../../relay-task/common/fair-turns.ts';
import { eventually, turnsOfLoop } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { ask } from './ask.ts';
import { startServer } from './start-server.ts';

const { opened } = closeAfterEach();

/** Turns that begin when they are told to. */
async function start(bodiesBytes = Number.POSITIVE_INFINITY) {
  const waiting: { readonly lanes: Lanes; begin(): void }[] = [];
  const wait = (lanes: Lanes) => new Promise<true>((begin) => waiting.push({ lanes, begin: () => begin(true) }));
  const held: FairTurns = { enter: wait, await: wait, connected() {}, waiting: 0 };
  const unlimited = createBudget(Number.POSITIVE_INFINITY);
  const bodies = createBudget(bodiesBytes);
  const { port, environment } = opened(
    await startServer({
      view: createMemory(flag('f', 1)),
      server: {
        turns: { servers: held, others: held },
        memory: { connections: unlimited, answers: unlimited, bodies },
      },
    }),
  );
  return { port, environment, waiting, bodies };
}

test.each([
  ['GET', '/livez', 200, '/livez'],
  ['GET', '/readyz', 200, '/readyz'],
  ['GET', '/status', 200, '/status'],
  ['GET', '/nothing', 404, 'none'],
  ['GET', '/a/../b', 301, 'none'],
  ['GET', '/%', 400, 'none'],
  ['POST', '/all', 405, 'none'],
  ['OPTIONS', '/sdk/goals/64a0', 200, 'none'],
])('%s %s waits for its turn, in a lane of its address', async (method, path, status, lane) => {
  const { port, waiting } = await start();
  const headers = { 'x-forwarded-for': '192.0.2.1' };
  const answer = ask(port, method, path, { headers });
  await eventually(() => expect(waiting.map(({ lanes }) => lanes)).toEqual([[lane, '192.0.2.1']]));
  waiting[0]?.begin();
  expect((await answer).status).toBe(status);
});

const context = { kind: 'user', key: 'alice' };

test.each([
  ['evalx', 'REPORT', '/sdk/evalx/64a0/context', context],
  ['OFREP', 'POST', '/ofrep/v1/evaluate/flags', { context: { targetingKey: 'alice' } }],
])('requests to %s that waited for the same flags go on when it is their turn', async (_what, method, path, body) => {
  const { port, waiting, environment } = await start();
  let compiled = () => {};
  let asked = 0;
  const round = new Promise<void>((resolve) => {
    compiled = resolve;
  });
  environment.clientView = {
    ...environment.clientView,
    compile() {
      asked += 1;
      return round;
    },
  };
  const begin = () => waiting.shift()?.begin();
  const headers = { 'content-type': 'application/json', authorization: 'sdk-key' };
  const answers = Array.from({ length: 3 }, () => ask(port, method, path, { headers, body: JSON.stringify(body) }));
  await eventually(() => {
    begin();
    expect(asked).toBe(3);
  });
  expect(waiting).toHaveLength(0);
  compiled();
  await eventually(() => expect(waiting).toHaveLength(3));
  expect(environment.evaluations).toBe(0);
  const beginning = setInterval(begin, 1);
  expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200, 200]);
  clearInterval(beginning);
  expect(environment.evaluations).toBe(3);
});

test.each([
  ['evalx', 'REPORT', '/sdk/evalx/64a0/context', context],
  ['OFREP', 'POST', '/ofrep/v1/evaluate/flags', { context: { targetingKey: 'alice' } }],
])(
  '%s: an evaluation that begins again after a change waits for the changed flags to be compiled',
  async (_what, method, path, body) => {
    const { port, environment, view } = opened(await startServer({ view: createMemory(flag('f', 1)) }));
    const { evaluateInSteps } = environment.clientView;
    let compiling: Promise<void> | undefined;
    const begun: boolean[] = [];
    environment.clientView = {
      ...environment.clientView,
      compile: () => compiling,
      *evaluateInSteps(...given) {
        begun.push(compiling !== undefined);
        yield;
        if (begun.length === 1) {
          view.set(flag('f', 2));
          compiling = turnsOfLoop(20).then(() => {
            compiling = undefined;
          });
        }
        yield;
        return yield* evaluateInSteps(...given);
      },
    };
    const headers = { 'content-type': 'application/json', authorization: 'sdk-key' };
    const answer = await ask(port, method, path, { headers, body: JSON.stringify(body) });
    expect(answer.status).toBe(200);
    expect(begun).toEqual([false, false]);
  },
);

test('the heads of such requests count while they wait', async () => {
  const { port, waiting, bodies } = await start(1_000_000);
  const long = `/livez?${'x'.repeat(50_000)}`;
  const first = ask(port, 'GET', long);
  await eventually(() => expect(waiting).toHaveLength(1));
  expect(bodies.usedBytes).toBeGreaterThan(100_000);
  // One address gets no more than half of what is free.
  const others = Array.from({ length: 9 }, () => ask(port, 'GET', long));
  expect((await Promise.race(others)).status).toBe(503);
  const short = ask(port, 'GET', '/livez');
  const begin = setInterval(() => waiting.shift()?.begin(), 1);
  expect([(await first).status, (await short).status]).toEqual([200, 200]);
  await Promise.all(others);
  clearInterval(begin);
  expect(bodies.usedBytes).toBe(0);
});
