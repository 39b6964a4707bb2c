/**
 * Well-behaved clients in a process of their own: streams of server SDKs, browsers and mobile SDKs, which open again when they end,
 * and official Node SDKs. Driven by `clients.ts`.
 */
import { get } from 'node:http';
import { init } from '@launchdarkly/node-server-sdk';
import { silentLog } from '../support/logs.ts';
import type { Measured, Order, StreamKind } from './clients.ts';
import { HeldVersions, type Times } from './held-versions.ts';
import { CHANGING, environmentId, mobileKey, type Published, sdkKey } from './site.ts';

const times: Times = new Map();
const streams: HeldVersions[] = [];
const sdks: HeldVersions[] = [];
let refused: Record<string, number> = {};
let port = 0;

/** How long a stream may take to its first event before the client tries again. */
const FIRST_EVENT_MS = 20_000;
const OPENING_AT_ONCE = 40;

function requestOf(kind: StreamKind, index: number): { path: string; headers: Record<string, string> } {
  const context = Buffer.from(JSON.stringify({ kind: 'user', key: `user-${index}` })).toString('base64url');
  if (kind === 'server') return { path: '/all', headers: { authorization: sdkKey } };
  if (kind === 'mobile') return { path: `/meval/${context}`, headers: { authorization: mobileKey } };
  return { path: `/eval/${environmentId}/${context}`, headers: {} };
}

interface Message {
  readonly path?: string;
  readonly key?: string;
  readonly value?: Published;
  readonly data?: { variations?: readonly Published[]; flags?: Record<string, { variations: readonly Published[] }> };
  readonly [CHANGING]?: { readonly value: Published };
}

function take(client: HeldVersions, event: string, text: string): void {
  const message = JSON.parse(text) as Message;
  if (event === 'put') {
    const published = message.data?.flags?.[CHANGING]?.variations[0] ?? message[CHANGING]?.value;
    client.opened();
    if (published) client.got(published, true);
  } else if (event === 'patch' && (message.path === `/flags/${CHANGING}` || message.key === CHANGING)) {
    const published = message.data?.variations?.[0] ?? message.value;
    if (published) client.got(published, false);
  }
}

function note(what: string): void {
  refused[what] = (refused[what] ?? 0) + 1;
}

/** Opens again, whenever it ends, 0.1 to 0.6 s later. Resolves at the first event. */
function keepOpen(client: HeldVersions, kind: StreamKind, index: number): Promise<void> {
  return new Promise((resolve) => {
    const open = () => {
      let again = false;
      const reopen = () => {
        client.closed();
        if (again) return;
        again = true;
        clearTimeout(timer);
        setTimeout(open, 100 + 500 * Math.random());
      };
      const asked = get({ host: '127.0.0.1', port, agent: false, ...requestOf(kind, index) }, (answer) => {
        if (answer.statusCode !== 200) {
          note(String(answer.statusCode));
          answer.resume();
          return void answer.on('close', reopen);
        }
        let text = '';
        answer.setEncoding('utf8');
        answer.on('data', (part: string) => {
          const events = (text + part).split('\n\n');
          text = events.pop() ?? '';
          for (const lines of events) {
            const [, event, data] = /^event: *(\w+)\ndata: *(.*)/m.exec(lines) ?? [];
            if (event === undefined || data === undefined) continue;
            take(client, event, data);
            clearTimeout(timer);
            resolve();
          }
        });
        answer.on('error', () => {}).on('close', reopen);
      });
      asked.on('error', reopen);
      const timer = setTimeout(() => {
        note('no first event');
        asked.destroy();
      }, FIRST_EVENT_MS);
    };
    open();
  });
}

async function openSdk(): Promise<void> {
  const uri = `http://127.0.0.1:${port}`;
  const uris = { streamUri: uri, baseUri: uri, eventsUri: uri };
  const client = init(sdkKey, { ...uris, diagnosticOptOut: true, logger: silentLog });
  const held = new HeldVersions(times);
  const look = async () => {
    const published: Published | null = await client.variation(CHANGING, { kind: 'user', key: 'sdk' }, null);
    // Several changes may be in force by the time that the first one is reported.
    if (published && published.version !== held.held) held.got(published, true);
  };
  client.on(`update:${CHANGING}`, look);
  await client.waitForInitialization({ timeout: 60 });
  held.opened();
  sdks.push(held);
  await look();
}

async function start(order: Extract<Order, { order: 'start' }>): Promise<void> {
  port = order.port;
  let next = 0;
  const one = async () => {
    while (next < order.streams) {
      const index = next++;
      const client = new HeldVersions(times);
      streams.push(client);
      await keepOpen(client, order.kinds[index % order.kinds.length] ?? 'server', index);
    }
  };
  await Promise.all(Array.from({ length: OPENING_AT_ONCE }, one));
  for (let index = 0; index < order.sdks; index++) await openSdk();
}

function measure(): Measured {
  const all = [...streams, ...sdks];
  const most = (part: 'gapMs' | 'behindMs') => Math.max(0, ...all.map((client) => client.longest()[part]));
  const sum = (part: keyof HeldVersions['counts']) => all.reduce((total, { counts }) => total + counts[part], 0);
  return {
    open: streams.filter(({ open }) => open).length,
    lowest: Math.min(...all.map(({ held }) => held)),
    ...{ gapMs: most('gapMs'), behindMs: most('behindMs') },
    ...{ repeated: sum('repeated'), skipped: sum('skipped'), backwards: sum('backwards') },
    refused,
  };
}

process.on('message', async (order: Order) => {
  if (order.order === 'published') return void times.set(order.version, order.at);
  if (order.order === 'start') await start(order);
  if (order.order === 'begin') {
    for (const client of [...streams, ...sdks]) client.begin();
    refused = {};
  }
  process.send?.(measure());
});
process.on('disconnect', () => process.exit(0));
