/**
 * LaunchDarkly's REST API on a real socket, as far as flags are updated by a JSON patch: what is patched reaches the stand-in for
 * LaunchDarkly's streams, as it does at LaunchDarkly.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { until } from './eventually.ts';
import type { FakeUpstream } from './fake-upstream.ts';
import { keptConnections } from './kept-connections.ts';
import { readBody } from './read-body.ts';

export interface PatchedRequest {
  readonly method: string;
  readonly url: string;
  readonly authorization: string;
  readonly contentType: string;
  readonly body: unknown;
}

export interface FakeRestApi {
  readonly uri: string;
  readonly requests: readonly PatchedRequest[];
  /** What every request gets from now on, in place of being obeyed; undefined: it is obeyed. */
  answer: { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string } | undefined;
  requested(count: number): Promise<void>;
  close(): Promise<void>;
}

interface StoredFlag {
  readonly key: string;
  readonly version: number;
  readonly variations: readonly unknown[];
}

/** `token`: the only one that it takes. */
export async function startFakeRestApi(upstream: FakeUpstream, token: string): Promise<FakeRestApi> {
  const requests: PatchedRequest[] = [];

  async function obey({ method, url, authorization, body }: PatchedRequest): Promise<number> {
    if (authorization !== token) return 401;
    const [, flagKey = ''] = /^\/api\/v2\/flags\/shop\/([^/]+)$/.exec(url) ?? [];
    const flag = upstream.data.flags[flagKey] as StoredFlag | undefined;
    if (method !== 'PATCH' || !flag) return 404;
    const variations = [...flag.variations];
    for (const { op, path, value } of body as readonly { op: string; path: string; value: unknown }[]) {
      const [, index] = /^\/variations\/(\d+)\/value$/.exec(path) ?? [];
      if (op !== 'replace' || index === undefined || !(index in variations)) return 400;
      variations[Number(index)] = value;
    }
    const next = { ...flag, version: flag.version + 1, variations };
    await upstream.patch('flags', next);
    return 200;
  }

  const server = keptConnections(
    createServer(async (incoming, outgoing) => {
      const { method = '', url = '', headers } = incoming;
      const request = {
        method,
        url,
        authorization: headers.authorization ?? '',
        contentType: headers['content-type'] ?? '',
        body: JSON.parse((await readBody(incoming)).toString()) as unknown,
      };
      requests.push(request);
      const { status, headers: more, body = '{}' } = api.answer ?? { status: await obey(request) };
      outgoing.writeHead(status, { 'Content-Type': 'application/json', ...more }).end(body);
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const api: FakeRestApi = {
    uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    answer: undefined,
    requested: (count) => until(`${count} requests, saw ${requests.length}`, () => requests.length >= count),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
  return api;
}
