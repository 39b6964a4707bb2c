import { createChecks } from './options.ts';

export const DEFAULT_REFRESH_MS = 10_000;

/**
 * The reader's configuration. At the edge it is compiled into the bundle, since Lambda@Edge allows neither environment
 * variables nor layers (AWS: "Restrictions on Lambda@Edge").
 */
export interface ReaderConfig {
  readonly tableName: string;
  /** The environment's prefix in the table. Default: none. */
  readonly prefix?: string;
  /** Maps the execution region (`AWS_REGION`) to the regions that have a replica, nearest first; `default` is for all other regions. */
  readonly replicas: Readonly<Record<string, readonly string[]>> & { readonly default: readonly string[] };
  /** Tests and `npm start` only: the DynamoDB endpoint, for all regions or by region. */
  readonly endpoint?: string | Readonly<Record<string, string>>;
  /**
   * How old data may be that calls are answered from. A call that finds it almost as old starts a read and does not wait; one that finds
   * it older waits for the read. Default 10,000.
   */
  readonly refreshMs?: number;
  /**
   * The longest that a call waits for newer data when it holds some; then it is answered from what it holds. Within this bound it waits
   * as long as the distance to the replica asks for. 0: never. Default 1,000.
   */
  readonly maxWaitMs?: number;
  /**
   * The longest that a call waits when no data is in memory. Default 1,000: a TLS connection to a replica on another
   * continent plus one read take three round trips, up to 600 ms, and a viewer function may run for 5,000.
   */
  readonly coldDeadlineMs?: number;
  /** Whether Big Segments are read from the table. Default true. */
  readonly bigSegments?: boolean;
}

/** A config with its defaults filled in: plain JSON, as it is compiled into bundles. */
export interface Settings {
  readonly tableName: string;
  readonly prefix: string;
  readonly replicas: ReaderConfig['replicas'];
  readonly endpoint: string | Readonly<Record<string, string>> | undefined;
  readonly refreshMs: number;
  readonly maxWaitMs: number;
  readonly coldDeadlineMs: number;
  readonly bigSegments: boolean;
}

/** Fills in the defaults. Throws one Error that lists every problem: the setting, its value and what is expected. */
export function parseReaderConfig(config: ReaderConfig): Settings {
  const { must, only, end } = createChecks('edge reader');
  const given = Object(config) as Record<string, unknown>;
  const integer = (name: string, fallback: number, least: number): number => {
    const value = given[name] ?? fallback;
    must(name, value, Number.isInteger(value) && (value as number) >= least, `an integer of at least ${least} (ms)`);
    return value as number;
  };

  const { tableName, prefix = '', replicas, endpoint, bigSegments = true } = given;
  must(
    'tableName',
    tableName,
    typeof tableName === 'string' && /^[\w.-]{3,255}$/.test(tableName),
    'the name of a table',
  );
  must('prefix', prefix, typeof prefix === 'string', 'a string');
  must('replicas.default', Object(replicas).default, Array.isArray(Object(replicas).default), 'a list of regions');
  for (const [region, list] of Object.entries(Object(replicas))) {
    const fine = Array.isArray(list) && list.length > 0 && list.every((name) => /^[a-z]{2}(-[a-z]+)+-\d$/.test(name));
    must(`replicas.${region}`, list, fine, 'at least one region, such as eu-west-1');
  }
  for (const url of typeof endpoint === 'object' ? Object.values(Object(endpoint)) : [endpoint]) {
    must('endpoint', url, url === undefined || /^https?:\/\/[^/]+\/?$/.test(String(url)), 'an http or https origin');
  }
  must('bigSegments', bigSegments, typeof bigSegments === 'boolean', 'true or false');
  const settings = {
    tableName,
    prefix,
    replicas,
    endpoint,
    refreshMs: integer('refreshMs', DEFAULT_REFRESH_MS, 1),
    maxWaitMs: integer('maxWaitMs', 1_000, 0),
    coldDeadlineMs: integer('coldDeadlineMs', 1_000, 1),
    bigSegments,
  } as Settings;
  // At the end, when the names of all settings are known.
  only(given, Object.keys(settings));
  end();
  return settings;
}
