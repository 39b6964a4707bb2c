import { looksLikeKey } from './secrets.ts';

/**
 * The header that names an environment to SDKs, which show it to their hooks. Neither a secret key that was configured as
 * client-side ID by mistake is passed on, nor an ID with which clients would refuse the whole head.
 */
export function environmentIdHeader(environmentId: string | undefined): { readonly 'X-LD-EnvID': string } | undefined {
  if (environmentId === undefined || !/^[!-~]{1,256}$/.test(environmentId) || looksLikeKey(environmentId))
    return undefined;
  return { 'X-LD-EnvID': environmentId };
}
