import { list } from '../relay-task/common/setting-values.ts';
import type { Outbound } from '../relay-task/ports.ts';
import { createOutbound } from '../relay-task/upstream/outbound.ts';
import type { Env } from './store/arguments.ts';

/**
 * How the commands reach AWS: as the relay does, through the proxies of HTTPS_PROXY and HTTP_PROXY with the same user, and
 * trusting PROXY_CA_CERTS. Throws RelayError CONFIG_INVALID.
 */
export function outboundOf(env: Env): Outbound {
  const files = list(env.PROXY_CA_CERTS ?? '');
  const { PROXY_URL: proxyUrl, PROXY_AUTH_USER: user, PROXY_AUTH_PASSWORD: password } = env;
  return createOutbound({ proxyUrl, user, password, caCertFiles: 'value' in files ? files.value : [], env });
}
