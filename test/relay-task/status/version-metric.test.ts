import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { createMeasures } from '../../../relay-task/common/measures.ts';
import { tellVersion } from '../../../relay-task/status/version-metric.ts';
import { closeAfterEach } from '../../support/opened.ts';

const { opened } = closeAfterEach();

/** What a relay tells whose ECS metadata endpoint answers so. */
async function toldWith(status: number, body: string): Promise<string> {
  const asked: (string | undefined)[] = [];
  const server = opened(
    http.createServer((request, response) => {
      asked.push(request.url);
      response.writeHead(status).end(body);
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const measures = createMeasures();
  await tellVersion(measures, '1.2.3', `http://127.0.0.1:${(server.address() as AddressInfo).port}/v4/abc`);
  expect(asked).toEqual(['/v4/abc/task']);
  return measures.registry.metrics();
}

test('on ECS the version has the revision of the task definition, which every deployment changes', async () => {
  // AWS: "Amazon ECS task metadata v4 examples".
  const answer = { Cluster: 'edge-flag-relay-prod', Family: 'relay', Revision: '42', AvailabilityZone: 'eu-west-1b' };
  expect(await toldWith(200, JSON.stringify(answer))).toContain(
    'launchdarkly_relay_version_info{version="1.2.3 (revision 42)"} 1',
  );
});

test.each<[string, number, string]>([
  ['an error', 500, '{}'],
  ['something else', 200, '<html>'],
  ['a revision that is no number', 200, '{"Revision":"x\\ny"}'],
  ['too much', 200, `{"Revision":"1","more":"${'x'.repeat(300_000)}"}`],
])('the version alone is told if the endpoint answers with %s', async (_, status, body) => {
  expect(await toldWith(status, body)).toContain('launchdarkly_relay_version_info{version="1.2.3"} 1');
});

test.each([undefined, 'http://127.0.0.1:1', 'no address'])(
  'the version alone is told where the endpoint is %s',
  async (uri) => {
    const measures = createMeasures();
    await tellVersion(measures, '1.2.3', uri);
    expect(await measures.registry.metrics()).toContain('launchdarkly_relay_version_info{version="1.2.3"} 1');
  },
);
