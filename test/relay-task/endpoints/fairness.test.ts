/** Floods of requests whose work takes long: what they do to the requests of others. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { ServedEnvironment } from '../../../relay-task/endpoints/services.ts';
import { eventually } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { startServer, type TestServer } from './start-server.ts';

let started: TestServer;
afterEach(() => started.close());

const FLOOD = 300;
const WORK_MS = 2;
const context = Buffer.from('{"kind":"user","key":"a"}').toString('base64url');

/** Environments `a` and `b`, each with its client-side ID; evaluating in `a` takes 2 ms. `began` counts evaluations in `a`. */
async function start() {
  const counts = { began: 0 };
  let slow: ServedEnvironment | undefined;
  let quick: ServedEnvironment | undefined;
  started = await startServer({
    view: createMemory(flag('f', 1)),
    find(_kind, credential, _filter, environment) {
      slow ??= {
        ...environment,
        name: 'a',
        view: environment.view,
        clientView: {
          ...environment.clientView,
          *evaluateInSteps(...given) {
            yield;
            counts.began++;
            for (const until = performance.now() + WORK_MS; performance.now() < until; );
            return yield* environment.clientView.evaluateInSteps(...given);
          },
        },
      };
      quick ??= { ...environment, name: 'b', view: environment.view };
      return { environment: credential.endsWith('b') ? quick : slow };
    },
  });
  const evalx = (environment: string, address: string) =>
    `GET /sdk/evalx/${environment}/contexts/${context} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: ${address}\r\n\r\n`;
  /** Requests to `a` from one address, and how many of them had their turn before the other one, sent after them, was answered. */
  const flooded = async (other: string) => {
    const sockets = await Promise.all(Array.from({ length: FLOOD + 1 }, () => open(started.port)));
    const last = sockets.pop()!;
    const statuses = sockets.map((socket) => statusOn(socket, evalx('a', '192.0.2.1')));
    const status = await statusOn(last, other);
    const meanwhile = counts.began;
    const flood = new Set(await Promise.all(statuses));
    for (const socket of [...sockets, last]) socket.destroy();
    return { status, meanwhile, flood };
  };
  return { evalx, flooded };
}

/** A connection that has had an answer: new ones are accepted one in each turn of the event loop, which spreads any flood. */
async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  await statusOn(socket, 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n');
  return socket;
}

/** Of the response to this request. */
async function statusOn(socket: Socket, request: string): Promise<number> {
  socket.write(request);
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  return Number(bytes.toString().split(' ')[1]);
}

describe('a flood of requests from one address', () => {
  test.each([
    ['another environment', (evalx: Evalx) => evalx('b', '192.0.2.1')],
    ['another address of the same environment', (evalx: Evalx) => evalx('a', '198.51.100.1')],
    [
      'a server SDK of the same environment',
      () => 'GET /sdk/latest-all HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\n\r\n',
    ],
    ['somebody who asks for the status', () => 'GET /status HTTP/1.1\r\nHost: x\r\n\r\n'],
  ])('leaves the requests of %s their turn @heavy', async (_, other) => {
    const { evalx, flooded } = await start();
    const { status, meanwhile, flood } = await flooded(other(evalx));
    expect(status).toBe(200);
    expect(flood).toEqual(new Set([200]));
    // Without turns the whole flood comes first.
    expect(meanwhile).toBeLessThan(FLOOD / 3);
  });
});

type Evalx = (environment: string, address: string) => string;

/** An environment whose evaluation takes 30 steps of 5 ms; `during` is called in each. */
async function startStepwise(during: (step: number, server: TestServer) => void) {
  let stepwise: ServedEnvironment | undefined;
  started = await startServer({
    view: createMemory(flag('f', 1)),
    find(_kind, _credential, _filter, environment) {
      stepwise ??= {
        ...environment,
        view: environment.view,
        clientView: {
          ...environment.clientView,
          *evaluateInSteps(...given) {
            for (let step = 1; step <= 30; step++) {
              during(step, started);
              for (const over = performance.now() + 5; performance.now() < over; );
              yield;
            }
            return yield* environment.clientView.evaluateInSteps(...given);
          },
        },
      };
      return { environment: stepwise };
    },
  });
  return started;
}

const asked = `GET /sdk/evalx/a/contexts/${context} HTTP/1.1\r\nHost: x\r\n\r\n`;

test('a server SDK does not wait for a single one of the requests of browsers that wait @heavy', async () => {
  const { flooded } = await start();
  const { status, meanwhile } = await flooded('GET /sdk/latest-all HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\n\r\n');
  expect(status).toBe(200);
  // What was done at once, and until the answer was heard.
  expect(meanwhile).toBeLessThan(12);
});

test('an evaluation of many flags leaves turns to other requests @heavy', async () => {
  let steps = 0;
  const { port } = await startStepwise(() => {
    steps++;
  });
  const [long, short] = [await open(port), await open(port)];
  const answered = statusOn(long, asked);
  await eventually(() => expect(steps).toBeGreaterThan(0));
  expect(await statusOn(short, 'GET /sdk/latest-all HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\n\r\n')).toBe(200);
  expect(steps).toBeLessThan(30);
  expect(await answered).toBe(200);
  for (const socket of [long, short]) socket.destroy();
});

test('an evaluation during which a change arrives begins again, twice at most @heavy', async () => {
  let changes = 0;
  let begun = 0;
  const { get } = await startStepwise((step, { view }) => {
    if (step === 1) begun++;
    if (step === 10) view.set(flag('f', ++changes + 1));
  });
  const answer = await get(`/sdk/evalx/a/contexts/${context}`);
  expect(await answer.json()).toMatchObject({ f: { version: changes + 1 } });
  expect(begun).toBe(3);
});
