/// <reference path="./yazl.d.ts" />
import { readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { deflateRawSync } from 'node:zlib';
import { minifySync } from '@swc/core';
import { buildSync } from 'esbuild';
import { ZipFile } from 'yazl';
import { parseReaderConfig, type ReaderConfig, type Settings } from '../../lambda/edge-reader/config.ts';
import { checkRouterConfig } from '../../lambda/edge-router/check-config.ts';
import type {
  OriginRequestConfig,
  ViewerRequestConfig,
  ViewerResponseConfig,
} from '../../lambda/edge-router/config.ts';
import { FUNCTION_OPTIONS } from './function-bundle.ts';

/** The configuration of each edge function. */
export interface EdgeConfigs {
  readonly reader: ReaderConfig;
  readonly 'viewer-request': ViewerRequestConfig;
  readonly 'origin-request': OriginRequestConfig;
  readonly 'viewer-response': ViewerResponseConfig;
}

export type EdgeEntry = keyof EdgeConfigs;

const lambda = join(import.meta.dirname, '../../lambda');
const entries: Readonly<Record<EdgeEntry, string>> = {
  reader: join(lambda, 'edge-reader/reader.entry.ts'),
  'viewer-request': join(lambda, 'edge-router/viewer-request.entry.ts'),
  'origin-request': join(lambda, 'edge-router/origin-request.entry.ts'),
  'viewer-response': join(lambda, 'edge-router/viewer-response.entry.ts'),
};

export interface EdgeBundleOptions<E extends EdgeEntry = EdgeEntry> {
  readonly entry: E;
  /** Baked into the code, so it must be literal. */
  readonly config: EdgeConfigs[E];
  /** Receives one file, `index.cjs`; the Lambda handler is `index.handler`. */
  readonly outdir: string;
  /** The oldest Node.js version that must run it. Default node22: Lambda runs Node.js 22 and 24. */
  readonly target?: 'node20' | 'node22';
}

/**
 * Bundles one edge function, synchronously because constructs are. Returns the file's path.
 * CommonJS, since the ESM loader adds 30 ms or more to a cold start. Throws an Error that says what is wrong with the config
 * or which part of it is not literal.
 */
export function buildEdge<E extends EdgeEntry>({ entry, config, outdir, target }: EdgeBundleOptions<E>): string {
  const { bootstrap, ...baked } = parsed(entry, config) as Record<string, unknown>;
  const { bigSegments } = (baked.reader ?? baked) as Partial<Settings>;
  const file = build({ entryFile: entries[entry], config: baked, outdir, target, bootstrap, bigSegments });
  if (bootstrap !== undefined) checkSize(entry, file);
  return file;
}

/** AWS: "Restrictions on Lambda@Edge", viewer events: pages of different ages say 1 and 50 MB. */
const MOST_ZIPPED_BYTES = 1_000_000;

/** Only a bootstrap can be large: a segment with a long list of members. */
function checkSize(entry: EdgeEntry, file: string): void {
  const zipped = deflateRawSync(readFileSync(file), { level: 9 }).length;
  if (zipped <= MOST_ZIPPED_BYTES) return;
  const size = (bytes: number) => `${(bytes / 1_000_000).toFixed(1)} MB`;
  throw new Error(
    `edge router: ${entry} has ${size(zipped)} zipped with its bootstrap, and a viewer function at most ${size(MOST_ZIPPED_BYTES)}: take long lists out of the segments of the bootstrap, or leave it out`,
  );
}

export interface OwnEdgeBundleOptions {
  /** The absolute path of your own module, which exports `handler`. */
  readonly entryFile: string;
  /** Plain JSON: replaces the name `__EDGE_CONFIG__` in the code. */
  readonly config: unknown;
  readonly outdir: string;
  readonly target?: 'node20' | 'node22' | undefined;
}

/** Bundles your own edge function the way `buildEdge` bundles ours. Throws an Error if the config is not literal. */
export function buildOwnEdge(options: OwnEdgeBundleOptions): string {
  literal(options.config);
  return build(options);
}

interface BuildOptions extends OwnEdgeBundleOptions {
  readonly bootstrap?: unknown;
  /** Whether a reader in it may need them. Default true. */
  readonly bigSegments?: boolean;
}

function build(options: BuildOptions): string {
  const { entryFile, config, outdir, target, bootstrap, bigSegments = true } = options;
  const outfile = join(outdir, 'index.cjs');
  buildSync({
    entryPoints: [entryFile],
    outfile,
    ...FUNCTION_OPTIONS,
    // By `squeeze` alone: what both do compresses worse.
    minify: false,
    ...(target && { target }),
    mainFields: ['module', 'main'],
    define: {
      __EDGE_CONFIG__: literal(config),
      __EDGE_EXPORTS__: 'exports',
      __EDGE_BIG_SEGMENTS__: String(bigSegments),
      __EDGE_PARTS__: String(['rules', 'attributes', 'contexts'].some((name) => name in Object(config))),
      // A constant, so that the code for a bootstrap is only there with one.
      __EDGE_HAS_BOOTSTRAP__: String(bootstrap !== undefined),
      __EDGE_BOOTSTRAP__: JSON.stringify(literal(bootstrap ?? null)),
      __EDGE_TESTERS__: String(['preview', 'shadow'].some((name) => name in Object(config))),
      __EDGE_EXPOSURES__: String((config as Partial<ViewerRequestConfig> | null)?.exposures !== undefined),
    },
    // Our classes set every field in their constructors; declaring the fields would only add bytes.
    tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } },
    logOverride: { 'commonjs-variable-in-esm': 'silent' },
  });
  writeFileSync(outfile, squeeze(requiringOnce(readFileSync(outfile, 'utf8'))));
  return outfile;
}

/** esbuild requires a builtin module once for each of our modules that imports it. */
function requiringOnce(code: string): string {
  const names = new Map<string, string>();
  let once = code;
  for (const [line, name = '', builtin = ''] of code.matchAll(/^var (import_\w+) = require\("(.+)"\);$/gm)) {
    const known = names.get(builtin);
    if (known === undefined) names.set(builtin, name);
    else once = once.replace(line, '').replaceAll(new RegExp(`\\b${name}\\.`, 'g'), `${known}.`);
  }
  return once;
}

/** esbuild's own minifying leaves functions used once and chains of variables: 4 % of the zip. */
function squeeze(code: string): string {
  const compress = { toplevel: true, passes: 4, ecma: 2020 } as const;
  return minifySync(code, { compress, mangle: { toplevel: true }, ecma: 2020, module: false }).code;
}

export interface EdgeBundle {
  readonly file: string;
  readonly minifiedBytes: number;
  /** What Lambda receives. The same code always gives the same bytes. */
  readonly zipBytes: number;
}

/** `buildEdge`, with the bundle's sizes. */
export async function bundleEdge<E extends EdgeEntry>(options: EdgeBundleOptions<E>): Promise<EdgeBundle> {
  const file = buildEdge(options);
  const code = await readFile(file);
  return { file, minifiedBytes: code.length, zipBytes: (await zipOf(code)).length };
}

async function zipOf(code: Buffer): Promise<Buffer> {
  const zip = new ZipFile();
  // The earliest time that a zip can express, without the extra field that depends on the time zone.
  const mtime = new Date(1980, 0, 1);
  zip.addBuffer(code, 'index.cjs', { mtime, mode: 0o100644, compressionLevel: 9, forceDosTimestamp: true });
  zip.end();
  const chunks: Buffer[] = [];
  for await (const chunk of zip.outputStream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Checked here because at the edge nobody would see the error and every cold start would pay for the checks. */
function parsed(entry: EdgeEntry, config: unknown): unknown {
  literal(config);
  if (entry === 'reader') return parseReaderConfig(config as ReaderConfig);
  checkRouterConfig(config as ViewerRequestConfig, entry);
  if (entry !== 'viewer-request') return config;
  return { ...(config as ViewerRequestConfig), reader: parseReaderConfig((config as ViewerRequestConfig).reader) };
}

/** A CDK token would be baked in as the text `${Token[…]}`, which only fails at the edge. */
function literal(config: unknown): string {
  const text = JSON.stringify(config);
  const token = /\$\{Token\[[^\]]*\]\}|"(Ref|Fn::[A-Za-z]+)":/.exec(text ?? '')?.[0];
  if (token)
    throw new Error(`edge config must be literal but contains ${token}: pass the value itself, not a reference`);
  if (text === undefined || !isDeepStrictEqual(JSON.parse(text), withoutUndefined(config))) {
    throw new Error('edge config must be plain JSON: no functions, dates, numbers such as NaN, or CDK tokens');
  }
  return text;
}

function withoutUndefined(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(withoutUndefined);
  const present = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.getPrototypeOf(value) === Object.prototype
    ? Object.fromEntries(present.map(([name, member]) => [name, withoutUndefined(member)]))
    : value;
}
