import type { Chain } from 'edge-flag-relay/chain';
import { get } from './call.ts';
import { answer, type UrlHandler } from './function-url.ts';

/** The flag that both services ask for: its variations are the versions of the greeting. */
export const GREETING = 'canary-greeting';

interface HelloOptions {
  readonly chain: Chain;
  readonly worldUrl: string;
  /** How long `world` may take. Default 3,000. */
  readonly timeoutMs?: number | undefined;
}

/** The first service: decides for the user in the query string and calls `world`, passing the decision along. */
export function createHello({ chain, worldUrl, timeoutMs }: HelloOptions): UrlHandler {
  return async ({ headers = {}, queryStringParameters: { user: key } = {} }) => {
    const startedAt = performance.now();
    if (!key) return answer(400, { error: 'expected a user: ?user=alice' });
    // Percentages apply to the key, not to the request, so a user keeps the same version.
    // #region call
    const user = { kind: 'user', key };
    const call = chain.join(headers, user);
    const version = await call.stringVariation(GREETING, user, 'stable');
    const url = `${worldUrl}?user=${encodeURIComponent(key)}`;
    const world = await get(url, call.headers(), timeoutMs).catch((error: Error) => error);
    // #endregion
    const failed = world instanceof Error || world.statusCode >= 500;
    // Flags that world decided itself keep their values for the rest of this request.
    if (!(world instanceof Error)) call.learn(world.headers);
    call.done({ ms: performance.now() - startedAt, failed });
    const said = world instanceof Error ? { error: world.message } : world.body;
    return answer(failed ? 502 : 200, { hello: version, world: said });
  };
}
