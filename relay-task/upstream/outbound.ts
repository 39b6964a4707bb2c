import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http, { type Agent } from 'node:http';
import https from 'node:https';
import tls from 'node:tls';
import { createFindings, type Problems } from '../common/findings.ts';
import type { AwsAgents, CollectorOutbound, Outbound } from '../ports.ts';
import { parseNoProxy } from './no-proxy.ts';
import { createForwardAgent, createTunnelAgent, joinAgents, type ProxyOptions } from './proxy-agents.ts';

export interface OutboundOptions {
  /** For all connections to LaunchDarkly; overrides the variables in `env`. `proxy:3128` means http. */
  readonly proxyUrl?: string | undefined;
  /** For the proxy's Basic authentication; overrides the credentials in its URL. */
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /** PEM files, trusted in addition to Node's own authorities. */
  readonly caCertFiles: readonly string[];
  /** For `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` (upper case first) and `NODE_EXTRA_CA_CERTS`. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The proxies for targets of each scheme. */
interface Proxies {
  readonly forHttps: URL | undefined;
  readonly forHttp: URL | undefined;
}

/** As the AWS SDK's own agents. */
const awsPool = { keepAlive: true, maxSockets: 50 };
/** The endpoints for a task's and an instance's credentials, which no proxy can reach. */
const metadataEndpoints = '169.254.0.0/16,fd00:ec2::/32';

/**
 * Creates the agents for connections to LaunchDarkly and AWS. As with ld-relay, the proxy in the relay's own settings is
 * for LaunchDarkly alone, those in variables are for AWS as well. Throws CONFIG_INVALID, naming every invalid address
 * and file, but never a user or a password.
 */
export function createOutbound({
  proxyUrl,
  user,
  password,
  caCertFiles,
  env,
}: OutboundOptions): Outbound & CollectorOutbound {
  const findings = createFindings();
  const authorities = readAuthorities(caCertFiles, env, findings);
  const secureContext = authorities && tls.createSecureContext({ ca: [...authorities] });
  const fromEnv = (name: string) => env[name]?.trim() || env[name.toLowerCase()]?.trim() || undefined;
  const own = withUser(readProxy('the proxy URL', proxyUrl?.trim() || undefined, findings), user, password);
  // With a configured proxy, those in variables matter only once an AWS client is opened.
  const findingsOfVariables = proxyUrl?.trim() ? createFindings() : findings;
  const readVariable = (name: string) => {
    const proxy = readProxy(name, fromEnv(name), findingsOfVariables);
    // If a proxy is configured, the user is for that one.
    return own ? proxy : withUser(proxy, user, password);
  };
  const ofVariables = { forHttps: readVariable('HTTPS_PROXY'), forHttp: readVariable('HTTP_PROXY') };
  findings.throwProblems();
  const noProxy = fromEnv('NO_PROXY') ?? '';
  // As in ld-relay, NO_PROXY applies only to the proxies from variables, not to a configured one.
  const isNamed = parseNoProxy(noProxy);
  const isSpared = own ? () => false : isNamed;
  const proxies: Proxies = own ? { forHttps: own, forHttp: own } : ofVariables;
  const direct = secureContext && new https.Agent({ secureContext });
  const proxied = createProxyAgents(proxies, { secureContext });

  return {
    agentFor(url): Agent | undefined {
      const { tunnel, forward } = isSpared(url) ? {} : proxied;
      return url.protocol === 'https:' ? (tunnel ?? direct) : forward;
    },
    collectorAgent(url, pem = {}): Agent | undefined {
      if (url.protocol !== 'https:') return isNamed(url) ? undefined : proxied.forward;
      const { ca = authorities, ...own } = pem;
      const isPlain = !ca && Object.keys(own).length === 0;
      const context = isPlain ? undefined : tls.createSecureContext({ ...own, ...(ca && { ca: ca as string[] }) });
      const options = { ...(context && { secureContext: context }), pool: { keepAlive: true } };
      if (!isNamed(url) && proxies.forHttps) return createTunnelAgent({ ...options, proxy: proxies.forHttps });
      return new https.Agent({ keepAlive: true, ...(context && { secureContext: context }) });
    },
    awsAgents() {
      findingsOfVariables.throwProblems();
      if (!ofVariables.forHttps && !ofVariables.forHttp && !secureContext) return undefined;
      return createAwsAgents(ofVariables, parseNoProxy(`${metadataEndpoints},${noProxy}`), secureContext);
    },
  };
}

function createProxyAgents({ forHttps, forHttp }: Proxies, options: Omit<ProxyOptions, 'proxy'>) {
  return {
    tunnel: forHttps && createTunnelAgent({ ...options, proxy: forHttps }),
    forward: forHttp && createForwardAgent({ ...options, proxy: forHttp }),
  };
}

/** As long as a request to DynamoDB may take. */
const AWS_TUNNEL_MS = 3_000;

function createAwsAgents(
  proxies: Proxies,
  isSpared: (url: URL) => boolean,
  secureContext: tls.SecureContext | undefined,
): AwsAgents {
  const httpAgent = new http.Agent(awsPool);
  const httpsAgent = new https.Agent({ ...awsPool, ...(secureContext && { secureContext }) });
  // Callers give up earlier than the usual 10 s, and a tunnel holds one of the pool's places.
  const options = { secureContext, pool: awsPool, timeoutMs: AWS_TUNNEL_MS };
  const { tunnel, forward } = createProxyAgents(proxies, options);
  return {
    httpAgent: forward ? joinAgents({ direct: httpAgent, proxied: forward, scheme: 'http', isSpared }) : httpAgent,
    httpsAgent: tunnel ? joinAgents({ direct: httpsAgent, proxied: tunnel, scheme: 'https', isSpared }) : httpsAgent,
  };
}

/** Undefined without a text, or if it is not an address, which is then a problem. */
function readProxy(name: string, text: string | undefined, findings: Problems): URL | undefined {
  if (text === undefined) return undefined;
  const proxy = parseProxy(text);
  if (proxy === undefined) findings.problem(`${name} must be an http or https URL, such as http://proxy:3128`);
  return proxy;
}

function parseProxy(text: string): URL | undefined {
  const address = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (!url || url.hostname === '' || !['http:', 'https:'].includes(url.protocol)) return undefined;
  try {
    // Decoded again when used, where an error could not be reported.
    decodeURIComponent(url.username + url.password);
    return url;
  } catch {
    return undefined;
  }
}

function withUser(proxy: URL | undefined, user: string | undefined, password: string | undefined): URL | undefined {
  if (!proxy || !user) return proxy;
  const url = new URL(proxy);
  url.username = encodeURIComponent(user);
  url.password = encodeURIComponent(password ?? '');
  return url;
}

function readAuthorities(
  files: readonly string[],
  env: OutboundOptions['env'],
  findings: Problems,
): readonly string[] | undefined {
  if (files.length === 0) return undefined;
  const read = files.map(readCertificates);
  const problems = read.flatMap(({ problem = [] }) => problem);
  for (const problem of problems) findings.problem(problem);
  if (problems.length > 0) return undefined;
  // Node ignores NODE_EXTRA_CA_CERTS once `ca` is set. Node itself warns if the file cannot be read.
  const extra = env.NODE_EXTRA_CA_CERTS ? [readCertificates(env.NODE_EXTRA_CA_CERTS)] : [];
  const certificates = [...extra, ...read].flatMap((one) => one.certificates);
  return [...tls.rootCertificates, ...certificates];
}

function readCertificates(file: string): { readonly certificates: readonly string[]; readonly problem?: string } {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return {
      certificates: [],
      problem: `cannot read the CA file ${file}: ${code === 'ENOENT' ? 'file not found' : message}`,
    };
  }
  const certificates = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (certificates.length > 0 && certificates.every(isCertificate)) return { certificates };
  return { certificates, problem: `the CA file ${file} must contain PEM certificates` };
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem) !== undefined;
  } catch {
    return false;
  }
}
