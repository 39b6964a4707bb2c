import type { Answered, EnvironmentDescription, Log } from '../ports.ts';
import type { Levels } from './levels.ts';

/**
 * One line for each request, at level debug, without keys, contexts, query strings and addresses. Costs a comparison while nobody
 * asked for it.
 */
export function createRequestLog({ log, levels }: { readonly log: Log; readonly levels: Levels }) {
  const environments = new Map<string, { readonly description: EnvironmentDescription }>();

  function isWanted(environment: string | undefined): boolean {
    if (levels.present() === 'debug') return true;
    const own = environment === undefined ? undefined : environments.get(environment);
    return own !== undefined && levels.of(own.description) === 'debug';
  }

  return {
    add: (tenant: { readonly name: string; readonly description: EnvironmentDescription }) =>
      void environments.set(tenant.name, tenant),
    remove: ({ name }: { readonly name: string }) => void environments.delete(name),
    answered({ route, method, status, environment, credential, family, bytes, durationMs }: Answered): void {
      if (!isWanted(environment)) return;
      log.debug(`${method} ${route} ${status}`, {
        ...(environment !== undefined && { environment }),
        method,
        route,
        status,
        credential,
        sdk: family,
        bytes,
        durationMs: Math.round(durationMs * 10) / 10,
      });
    },
  };
}
