import { looksLikeKey } from './secrets.ts';

/**
 * The header that names an environment to SDKs, which show it to their hooks. A secret key that was configured as client-side
 * ID by mistake is not passed on.
 */
export function environmentIdHeader(environmentId: string | undefined): { readonly 'X-LD-EnvID': string } | undefined {
  if (environmentId === undefined || !/^[!-~]+$/.test(environmentId) || looksLikeKey(environmentId)) return undefined;
  return { 'X-LD-EnvID': environmentId };
}
