import { Socket } from 'node:net';
import { createHub } from '../../../relay-task/streams/hub.ts';
import { silentMeter } from '../../../relay-task/streams/meter.ts';
import { until } from '../../support/eventually.ts';
import { hubSettings } from '../../support/hub-settings.ts';
import { flag } from '../../support/items.ts';
import { createEmptyMemory } from '../../support/memory.ts';
import { type ClientHub, startClientHub } from './start-client-hub.ts';

let started: ClientHub | undefined;
afterEach(async () => {
  await started?.close();
  started = undefined;
});

test('the meter counts every stream by kind, credential kind and reason of its end', async () => {
  const opened: string[] = [];
  const closed: string[] = [];
  started = await startClientHub({
    meter: {
      ...silentMeter,
      opened: (environment, kind, family, credentialKind) =>
        void opened.push([environment, kind, family, credentialKind].join(' ')),
      closed: (environment, kind, family, reason, credentialKind) =>
        void closed.push([environment, kind, family, reason, credentialKind].join(' ')),
    },
  });
  const { put, read, evaluated, streams } = started;
  put(flag('a', 1));
  const browser = await evaluated({ kind: 'user', key: 'x' });
  const mobile = await read(`/meval/${Buffer.from('{"kind":"user","key":"x"}').toString('base64url')}`);
  const others = [await read('/ping/64a0'), await read('/mping'), await read('/sdk/stream')];
  for (const reader of [browser, mobile, ...others]) await reader.next();
  expect(opened).toEqual([
    'test eval test/1 environmentId',
    'test eval test/1 mobileKey',
    'test ping test/1 environmentId',
    'test ping test/1 mobileKey',
    'test fdv2 test/1 sdkKey',
  ]);
  browser.close();
  await until('the browser is gone', () => closed.length === 1);
  streams.closeCredential('key');
  await until('all are gone', () => closed.length === 5);
  expect(closed[0]).toBe('test eval test/1 client environmentId');
  expect(closed.slice(1).sort()).toEqual([
    'test eval test/1 revoked mobileKey',
    'test fdv2 test/1 revoked sdkKey',
    'test ping test/1 revoked environmentId',
    'test ping test/1 revoked mobileKey',
  ]);
  for (const reader of [mobile, ...others]) expect(await reader.ended).toBe('clean');
});

test('waiting streams of every kind close with their environment', async () => {
  started = await startClientHub();
  const { read, evaluated, streams } = started;
  const readers = [
    await evaluated({ kind: 'user', key: 'x' }),
    await read('/ping/64a0'),
    await read('/sdk/stream?basis=x'),
  ];
  streams.remove();
  for (const reader of readers) expect(await reader.ended).toBe('clean');
});

test('a hub without FDv2 leaves the socket of an FDv2 request untouched', () => {
  const refused: string[] = [];
  const hub = createHub({
    ...hubSettings,
    meter: { ...silentMeter, refused: (environment) => void refused.push(environment) },
  });
  const { fdv2: _, ...view } = createEmptyMemory();
  const streams = hub.environment({ name: 'old', view });
  const socket = new Socket();
  const opening = {
    kind: 'fdv2',
    basis: '',
    credential: 'k',
    credentialKind: 'sdkKey',
    family: 'x',
    address: '127.0.0.1',
    httpVersion: '1.1',
  } as const;
  expect(streams.open(socket, opening)).toBe('closing');
  expect(refused).toEqual(['old']);
  expect(hub.connections).toBe(0);
  socket.destroy();
  return hub.closeAll(0);
});
