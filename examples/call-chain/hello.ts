import type { Chain } from '../../lambda/edge-reader/chain.ts';
import { get } from './call.ts';
import { answer, type UrlHandler } from './function-url.ts';

/** The flag that both services ask for: its variations are the versions of the greeting. */
export const GREETING = 'canary-greeting';

/** The first service: decides for the user in the query string and calls `world`, which gets the decision with the call. */
export function createHello({ chain, worldUrl }: { readonly chain: Chain; readonly worldUrl: string }): UrlHandler {
  return async ({ headers = {}, queryStringParameters: { user: key } = {} }) => {
    const startedAt = performance.now();
    if (!key) return answer(400, { error: 'expected a user: ?user=alice' });
    // The key decides, not the request: a user stays with a version, however often they come.
    const user = { kind: 'user', key };
    const call = chain.join(headers, user);
    const version = await call.stringVariation(GREETING, user, 'stable');
    const world = await get(`${worldUrl}?user=${encodeURIComponent(key)}`, call.headers()).catch(
      (error: Error) => error,
    );
    const failed = world instanceof Error || world.statusCode >= 500;
    // What world decided by itself holds for the rest of this request, too.
    if (!(world instanceof Error)) call.learn(world.headers);
    call.done({ ms: performance.now() - startedAt, failed });
    const said = world instanceof Error ? { error: world.message } : world.body;
    return answer(failed ? 502 : 200, { hello: version, world: said });
  };
}
