/** Requests whose context cannot be looked up in Big Segments yet. */
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { ask, base64url, json } from './ask.ts';
import { startServer } from './start-server.ts';

const { opened } = closeAfterEach();
const path = base64url({ kind: 'user', key: 'alice' });
const openFeature = { headers: json, body: JSON.stringify({ context: { targetingKey: 'alice' } }) };

test.each([
  ['GET', `/sdk/evalx/contexts/${path}`, {}],
  ['GET', `/sdk/evalx/64a0/contexts/${path}`, {}],
  ['REPORT', '/msdk/evalx/context', { headers: json, body: '{"kind":"user","key":"alice"}' }],
  ['GET', `/sdk/poll/eval/${path}`, {}],
  ['POST', '/ofrep/v1/evaluate/flags', openFeature],
  ['POST', '/ofrep/v1/evaluate/flags/everywhere', openFeature],
])('%s %s gets 503 and no evaluation until memberships in Big Segments are known', async (method, url, request) => {
  const { port, environment } = opened(await startServer({ view: createMemory(flag('everywhere', 3)) }));
  const headers = { authorization: /^.(msdk|sdk.poll)/.test(url) ? 'mob-key' : 'sdk-key' };
  const send = () =>
    ask(port, method, url, { ...request, headers: { ...headers, ...('headers' in request && request.headers) } });
  environment.bigSegment = { flag: 'everywhere', value: 'in', wait: async () => undefined };
  const refused = await send();
  expect(refused.status).toBe(503);
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
  expect(refused.json()).toEqual({ message: expect.stringContaining('looking up') });
  expect(environment.evaluations).toBe(0);
  environment.bigSegment = { flag: 'everywhere', value: 'in', wait: async () => new Map() };
  const answered = await send();
  expect(answered.status).toBe(200);
  expect(answered.body.toString()).toContain('"in"');
});
