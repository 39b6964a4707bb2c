import { createBudget } from '../../../relay-task/common/budget.ts';
import { createRequestRoom, lanesOf, openLanes } from '../../../relay-task/endpoints/request-room.ts';
import type { ServedEnvironment } from '../../../relay-task/endpoints/services.ts';
import type { CredentialKind } from '../../../relay-task/ports.ts';

const environment = { name: 'shop' } as ServedEnvironment;
const lanes = (credentialKind: CredentialKind, credential: string) =>
  lanesOf({ environment, credential, credentialKind }, '10.0.0.1');

test.each<[CredentialKind, string]>([
  ['sdkKey', 'server'],
  ['mobileKey', 'client'],
  ['environmentId', 'client'],
])('requests with a key of the kind %s take turns with those of a %s, by environment and address', (kind, side) => {
  expect(lanes(kind, 'k')).toEqual({
    kind: side,
    work: [`${side} shop`, `${side} 10.0.0.1`],
    memory: [`${kind} k`, `${side} 10.0.0.1`],
  });
});

test('bodies of client-side SDKs leave a quarter of the memory to server SDKs, however many there are', () => {
  const bodies = createBudget(8 * 1024 * 1024);
  const room = createRequestRoom({ bodies, answers: createBudget(1024) }, { waitMs: undefined });
  const take = (bytes: number) =>
    Array.from({ length: 2_000 }, (_, index) => room.open(openLanes(`10.0.0.${index}`)).take(bytes)).filter(Boolean);
  expect(take(16 * 1024).length * 16 * 1024).toBeLessThanOrEqual((3 / 4) * bodies.maxBytes);
  expect(bodies.freeBytes).toBeGreaterThanOrEqual(bodies.maxBytes / 4);
  expect(room.open(lanes('sdkKey', 'sdk-1')).take(256 * 1024)).toBe(true);
  room.close();
});
