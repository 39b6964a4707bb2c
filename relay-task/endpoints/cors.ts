/** What browsers have to be told so that they let a page read the answer: the Fetch standard, section 3.3. */
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

/** `Date`, by which SDKs correct the clock of the device; the others by their own use. */
const exposedHeaders = 'Date,ETag,Retry-After,X-LD-EnvID';

export interface CorsQuestion {
  readonly origin: string | undefined;
  /** The methods of the address. */
  readonly methods: readonly string[];
  /** Undefined while nobody knows whose request it is: an error has to be readable, too. */
  readonly environment: Pick<ServedEnvironment, 'allowedOrigins' | 'allowedHeaders'> | undefined;
}

/**
 * Headers for every answer of an address that browsers use, preflights and errors included. An origin that is not allowed
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

/** `Vary` is a list: what the answer depends on anyway stays in it. */
export function withHeaders(
  headers: Readonly<Record<string, string>>,
  more: Readonly<Record<string, string>>,
): Record<string, string> {
  const vary = [headers.Vary, more.Vary].filter((value) => value !== undefined);
  return { ...headers, ...more, ...(vary.length > 0 && { Vary: vary.join(', ') }) };
}
