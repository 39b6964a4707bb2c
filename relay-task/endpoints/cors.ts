/** CORS headers, which let pages read answers: the Fetch standard, section 3.3. */
import type { ServedEnvironment } from './services.ts';

const allowedHeaders = [
  'Cache-Control',
  'Content-Type',
  'Content-Length',
  'Accept-Encoding',
  'X-LaunchDarkly-User-Agent',
  'X-LaunchDarkly-Payload-ID',
  'X-LaunchDarkly-Wrapper',
  'X-LaunchDarkly-Event-Schema',
  'X-LaunchDarkly-Tags',
  'X-LaunchDarkly-Instance-Id',
  'Authorization',
  'If-None-Match',
  'X-API-Key',
  'X-LaunchDarkly-Hash',
];

/** SDKs use `Date` to correct for the device's clock. */
const exposedHeaders = 'Date,ETag,Retry-After,X-LD-EnvID';

interface CorsQuestion {
  readonly origin: string | undefined;
  /** The endpoint's methods. */
  readonly methods: readonly string[];
  /** Undefined if the credential is missing or unknown: pages must be able to read that error, too. */
  readonly environment: Pick<ServedEnvironment, 'allowedOrigins' | 'allowedHeaders'> | undefined;
}

/**
 * Headers for every answer of an endpoint that browsers use, including preflights and errors. An origin that is not allowed
 * gets no Access-Control-Allow-Origin.
 */
export function corsHeaders({ origin, methods, environment }: CorsQuestion): Record<string, string> {
  const allowed = allowedOrigin(origin, environment?.allowedOrigins ?? []);
  return {
    ...(allowed !== undefined && { 'Access-Control-Allow-Origin': allowed }),
    'Access-Control-Allow-Credentials': 'false',
    'Access-Control-Max-Age': '300',
    'Access-Control-Allow-Headers': [...allowedHeaders, ...(environment?.allowedHeaders ?? [])].join(','),
    'Access-Control-Expose-Headers': exposedHeaders,
    'Access-Control-Allow-Methods': [...methods.filter((method) => method !== 'HEAD'), 'OPTIONS'].join(','),
    Vary: 'Origin',
  };
}

function allowedOrigin(origin: string | undefined, allowed: readonly string[]): string | undefined {
  if (allowed.length === 0 || allowed.includes('*')) return origin ?? '*';
  return origin !== undefined && allowed.includes(origin) ? origin : undefined;
}

/** Merges headers; both values of `Vary` are kept. */
export function withHeaders(
  headers: Readonly<Record<string, string>>,
  more: Readonly<Record<string, string>>,
): Record<string, string> {
  const vary = [headers.Vary, more.Vary].filter((value) => value !== undefined);
  return { ...headers, ...more, ...(vary.length > 0 && { Vary: vary.join(', ') }) };
}
