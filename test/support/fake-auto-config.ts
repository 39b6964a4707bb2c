/** LaunchDarkly's stream of environments and keys, over a real socket: `/relay_auto_config` of a fake upstream. */
import { type FakeUpstream, type FlagData, type RecordedRequest, startFakeUpstream } from './fake-upstream.ts';

export interface FakeAutoConfig {
  /** For faults, and to inspect requests. */
  readonly upstream: FakeUpstream;
  /** The data of the first put on a new stream. Changes here are not announced. */
  readonly environments: Record<string, Record<string, unknown>>;
  readonly filters: Record<string, Record<string, unknown>>;
  /** Sends a put to all open streams. */
  put(): Promise<void>;
  /** Changes an environment and sends a patch. */
  patch(environment: Record<string, unknown> & { readonly envId: string }): Promise<void>;
  patchFilter(id: string, filter: Record<string, unknown>): Promise<void>;
  delete(table: 'environments' | 'filters', id: string, version: number): Promise<void>;
  close(): Promise<void>;
}

export async function startFakeAutoConfig(
  ...environments: ReturnType<typeof environmentRep>[]
): Promise<FakeAutoConfig> {
  const upstream = await startFakeUpstream();
  // A relay opens its streams of flags at the same address; they must not get these events.
  const isAutoConfig = ({ url }: RecordedRequest) => url.startsWith('/relay_auto_config');
  const event = (name: string, data: unknown) => upstream.event(name, data, { to: isAutoConfig });
  const fake: FakeAutoConfig = {
    upstream,
    environments: Object.fromEntries(environments.map((environment) => [environment.envId, environment])),
    filters: {},
    put: () => event('put', { path: '/', data: { environments: fake.environments, filters: fake.filters } }),
    patch(environment) {
      fake.environments[environment.envId] = environment;
      return event('patch', { path: `/environments/${environment.envId}`, data: environment });
    },
    patchFilter(id, filter) {
      fake.filters[id] = filter;
      return event('patch', { path: `/filters/${id}`, data: filter });
    },
    delete(table, id, version) {
      delete fake[table][id];
      return event('delete', { path: `/${table}/${id}`, version });
    },
    close: () => upstream.close(),
  };
  // A fake upstream starts a stream with a put of its data for the request.
  upstream.dataFor = (request) =>
    isAutoConfig(request)
      ? ({ environments: fake.environments, filters: fake.filters } as unknown as FlagData)
      : undefined;
  return fake;
}

/** An environment as LaunchDarkly sends it, with keys derived from its ID. */
export function environmentRep(envId: string, version: number, more: Record<string, unknown> = {}) {
  return {
    envId,
    envKey: 'production',
    envName: 'Production',
    mobKey: `mob-${envId}`,
    projKey: 'shop',
    projName: 'Shop',
    sdkKey: { value: `sdk-${envId}` },
    defaultTtl: 5,
    secureMode: false,
    version,
    ...more,
  };
}
