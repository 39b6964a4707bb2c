/// <reference path="./yazl.d.ts" />
import { readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { minifySync } from '@swc/core';
import { buildSync } from 'esbuild';
import { ZipFile } from 'yazl';
import { parseReaderConfig, type ReaderConfig } from '../../lambda/edge-reader/config.ts';
import {
  checkRouterConfig,
  type OriginRequestConfig,
  type ViewerRequestConfig,
  type ViewerResponseConfig,
} from '../../lambda/edge-router/config.ts';

/** What each edge function is configured with. */
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
  /** Baked into the code: literals only. */
  readonly config: EdgeConfigs[E];
  /** Gets one file, `index.cjs`; the Lambda handler is `index.handler`. */
  readonly outdir: string;
  /** The oldest Node.js that must run it. Default node22: Lambda's Node.js 24 and 22. */
  readonly target?: 'node20' | 'node22';
}

/**
 * Bundles one edge function, synchronously, as constructs need it. Returns the path of the file.
 * CommonJS: the ESM loader costs a cold start 30 ms and more. Throws an Error that says what is wrong with the config,
 * or which part of it is no literal.
 */
export function buildEdge<E extends EdgeEntry>({ entry, config, outdir, target }: EdgeBundleOptions<E>): string {
  return build({ entryFile: entries[entry], config: parsed(entry, config), outdir, target });
}

export interface OwnEdgeBundleOptions {
  /** A module of one's own that exports `handler`, by its absolute path. */
  readonly entryFile: string;
  /** Plain JSON: takes the place of the name `__EDGE_CONFIG__` in the code. */
  readonly config: unknown;
  readonly outdir: string;
  readonly target?: 'node20' | 'node22' | undefined;
}

/** Bundles an edge function of one's own, as `buildEdge` does ours. Throws an Error when the config is no literal. */
export function buildOwnEdge(options: OwnEdgeBundleOptions): string {
  literal(options.config);
  return build(options);
}

function build({ entryFile, config, outdir, target }: OwnEdgeBundleOptions): string {
  const outfile = join(outdir, 'index.cjs');
  buildSync({
    entryPoints: [entryFile],
    outfile,
    bundle: true,
    minify: true,
    format: 'cjs',
    platform: 'node',
    target: target ?? 'node22',
    mainFields: ['module', 'main'],
    define: { __EDGE_CONFIG__: literal(config), __EDGE_EXPORTS__: 'exports' },
    // Our classes give every field a value in their constructors: declaring them first would only cost bytes.
    tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } },
    logOverride: { 'commonjs-variable-in-esm': 'silent' },
    legalComments: 'none',
    logLevel: 'warning',
  });
  writeFileSync(outfile, squeeze(readFileSync(outfile, 'utf8')));
  return outfile;
}

/** esbuild minifies in one pass; what that leaves (functions used once, chains of variables) is 4 % of the zip. */
function squeeze(code: string): string {
  const compress = { toplevel: true, passes: 4, ecma: 2020 } as const;
  return minifySync(code, { compress, mangle: { toplevel: true }, ecma: 2020, module: false }).code;
}

export interface EdgeBundle {
  readonly file: string;
  readonly minifiedBytes: number;
  /** As Lambda is sent it. The same code gives the same bytes, whenever and wherever it is zipped. */
  readonly zipBytes: number;
}

/** `buildEdge`, measured. */
export async function bundleEdge<E extends EdgeEntry>(options: EdgeBundleOptions<E>): Promise<EdgeBundle> {
  const file = buildEdge(options);
  const code = await readFile(file);
  return { file, minifiedBytes: code.length, zipBytes: (await zipOf(code)).length };
}

async function zipOf(code: Buffer): Promise<Buffer> {
  const zip = new ZipFile();
  // The earliest time that a zip can express, without the extra field that would hold a time zone's opinion of it.
  const mtime = new Date(1980, 0, 1);
  zip.addBuffer(code, 'index.cjs', { mtime, mode: 0o100644, compressionLevel: 9, forceDosTimestamp: true });
  zip.end();
  const chunks: Buffer[] = [];
  for await (const chunk of zip.outputStream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Checked here and not at the edge, where nobody would see the error and everybody would pay for the checks. */
function parsed(entry: EdgeEntry, config: unknown): unknown {
  literal(config);
  if (entry === 'reader') return parseReaderConfig(config as ReaderConfig);
  checkRouterConfig(config as ViewerRequestConfig);
  if (entry !== 'viewer-request') return config;
  return { ...(config as ViewerRequestConfig), reader: parseReaderConfig((config as ViewerRequestConfig).reader) };
}

/** A CDK token would be baked as the text `${Token[…]}`, and only the function at the edge would notice. */
function literal(config: unknown): string {
  const text = JSON.stringify(config);
  const token = /\$\{Token\[[^\]]*\]\}|"(Ref|Fn::[A-Za-z]+)":/.exec(text ?? '')?.[0];
  if (token) throw new Error(`edge config must be literal, but holds ${token}: pass the value itself, not a reference`);
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
