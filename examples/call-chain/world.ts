import type { Chain } from 'edge-flag-relay/chain';
import { answer, type UrlHandler } from './function-url.ts';
import { GREETING } from './hello.ts';

/** A flag that only this service uses: it waits for the revision that `hello` decided with. */
export const PUNCTUATION = 'world-punctuation';

export interface WorldOptions {
  readonly chain: Chain;
  /** The versions of the greeting, by variation. */
  readonly versions: Readonly<Record<string, (user: string) => Promise<string>>>;
}

export const versions: WorldOptions['versions'] = {
  stable: async (user) => `Hello ${user}`,
  canary: async (user) => `Good day, ${user}`,
};

/** The second service: decides as the first one did, even if the flag has changed in the meantime. */
export function createWorld({ chain, versions }: WorldOptions): UrlHandler {
  return async ({ headers = {}, queryStringParameters: { user: key } = {} }) => {
    const startedAt = performance.now();
    if (!key) return answer(400, { error: 'expected a user: ?user=alice' });
    const user = { kind: 'user', key };
    const call = chain.join(headers, user);
    const version = await call.stringVariation(GREETING, user, 'stable');
    const punctuation = await call.stringVariation(PUNCTUATION, user, '.');
    const greeting = await (versions[version] ?? versions.stable)?.(key).catch(() => undefined);
    const failed = greeting === undefined;
    call.done({ ms: performance.now() - startedAt, failed });
    const body = { version, greeting: `${greeting}${punctuation}`, chained: call.chained() };
    return answer(failed ? 500 : 200, body, call.headers());
  };
}
