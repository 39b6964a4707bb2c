import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { deflateRawSync } from 'node:zlib';
import { parseReaderConfig, type ReaderConfig, type Settings } from '../../lambda/edge-reader/config.ts';
import { checkRouterConfig } from '../../lambda/edge-router/check-config.ts';
import type {
  OriginRequestConfig,
  ViewerRequestConfig,
  ViewerResponseConfig,
} from '../../lambda/edge-router/config.ts';
import { esbuild, swc } from './bundlers.ts';
import { FUNCTION_OPTIONS } from './function-bundle.ts';
import { readPackageNames } from './package-names.ts';
import { prebuilt } from './prebuilt.ts';

/** The configuration of each edge function. */
export interface EdgeConfigs {
  readonly reader: ReaderConfig;
  readonly 'viewer-request': ViewerRequestConfig;
  readonly 'origin-request': OriginRequestConfig;
  readonly 'viewer-response': ViewerResponseConfig;
}

export type EdgeEntry = keyof EdgeConfigs;

const root = join(import.meta.dirname, '../..');
const lambda = join(root, 'lambda');
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
  const { bigSegments = true } = (baked.reader ?? baked) as Partial<Settings>;
  const constants = constantsOf({ config: baked, bootstrap, bigSegments });
  const outfile = join(outdir, 'index.cjs');
  const file = prebuilt(join('edge', prebuiltName(entry, constants)));
  if (file === undefined) build({ entryFile: entries[entry], outfile, target, constants });
  else configure(file, outfile, constants);
  if (bootstrap !== undefined) checkSize(entry, outfile);
  return outfile;
}

/** What the code of edge functions refers to by these names; the values are expressions of JavaScript. */
interface Constants {
  readonly __EDGE_CONFIG__: string;
  readonly __EDGE_BIG_SEGMENTS__: Flag;
  readonly __EDGE_PARTS__: Flag;
  /** So that the code for a bootstrap is only there with one. */
  readonly __EDGE_HAS_BOOTSTRAP__: Flag;
  readonly __EDGE_BOOTSTRAP__: string;
  readonly __EDGE_TESTERS__: Flag;
  readonly __EDGE_EXPOSURES__: Flag;
  readonly __EDGE_HEARTBEAT__: Flag;
}

type Flag = 'true' | 'false';

const flag = (value: boolean): Flag => (value ? 'true' : 'false');

interface Baked {
  readonly config: unknown;
  readonly bootstrap?: unknown;
  /** Whether a reader in it may need them. */
  readonly bigSegments: boolean;
}

function constantsOf({ config, bootstrap, bigSegments }: Baked): Constants {
  const has = (...names: string[]) => flag(names.some((name) => name in Object(config)));
  return {
    __EDGE_CONFIG__: literal(config),
    __EDGE_BIG_SEGMENTS__: flag(bigSegments),
    __EDGE_PARTS__: has('rules', 'attributes', 'contexts'),
    __EDGE_HAS_BOOTSTRAP__: flag(bootstrap !== undefined),
    __EDGE_BOOTSTRAP__: JSON.stringify(literal(bootstrap ?? null)),
    __EDGE_TESTERS__: has('preview', 'shadow'),
    __EDGE_EXPOSURES__: flag((config as Partial<ViewerRequestConfig> | null)?.exposures !== undefined),
    __EDGE_HEARTBEAT__: flag(['heartbeatFlag', 'metricsNamespace'].every((name) => name in Object(config))),
  };
}

/** The flags that leave much code out. A function is prebuilt with each combination of their values; its other constants are written in front of it. */
const LEAVING_OUT = {
  reader: [],
  'viewer-request': ['__EDGE_PARTS__', '__EDGE_TESTERS__', '__EDGE_EXPOSURES__', '__EDGE_HEARTBEAT__'],
  'origin-request': [],
  'viewer-response': [],
} as const satisfies Record<EdgeEntry, readonly (keyof Constants)[]>;

type Combination = Partial<Record<keyof Constants, string>>;

function prebuiltName(entry: EdgeEntry, values: Combination): string {
  const on = LEAVING_OUT[entry].filter((name) => values[name] === 'true');
  return `${[entry, ...on.map((name) => name.replaceAll('_', '').replace('EDGE', '').toLowerCase())].join('-')}.cjs`;
}

/** Builds every edge function without a configuration, for the published package. */
export function prebuildEdge(outdir: string): void {
  for (const entry of Object.keys(entries) as EdgeEntry[]) {
    const combinations = LEAVING_OUT[entry].reduce<Combination[]>(
      (all, name) => all.flatMap((one) => [one, { ...one, [name]: 'true' }]),
      [Object.fromEntries(LEAVING_OUT[entry].map((name) => [name, 'false']))],
    );
    for (const constants of combinations) {
      build({ entryFile: entries[entry], outfile: join(outdir, prebuiltName(entry, constants)), constants });
    }
  }
}

/** Writes a prebuilt function with its constants in front. JSON is parsed when it runs: in a literal, `__proto__` is no property. */
function configure(file: string, outfile: string, { __EDGE_CONFIG__, ...others }: Constants): void {
  const constants = { __EDGE_CONFIG__: `JSON.parse(${JSON.stringify(__EDGE_CONFIG__)})`, ...others };
  const code = readFileSync(file, 'utf8');
  const declared = Object.entries(constants).flatMap(([name, value]) =>
    code.includes(name) ? `${name}=${value}` : [],
  );
  mkdirSync(dirname(outfile), { recursive: true });
  writeFileSync(outfile, `"use strict";const ${declared.join(',')};\n${code}`);
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
export function buildOwnEdge({ entryFile, config, outdir, target }: OwnEdgeBundleOptions): string {
  const outfile = join(outdir, 'index.cjs');
  build({ entryFile, outfile, target, constants: constantsOf({ config, bigSegments: true }) });
  return outfile;
}

interface BuildOptions {
  readonly entryFile: string;
  readonly outfile: string;
  readonly target?: 'node20' | 'node22' | undefined;
  /** Those that are missing stay free variables. */
  readonly constants: Combination;
}

function build({ entryFile, outfile, target, constants }: BuildOptions): void {
  // The published package comes without the second minifier.
  const published = prebuilt('') !== undefined;
  esbuild().buildSync({
    entryPoints: [entryFile],
    outfile,
    ...FUNCTION_OPTIONS,
    // By `squeeze` alone: what both do compresses worse.
    minify: published,
    ...(target && { target }),
    mainFields: ['module', 'main'],
    ...(!published && { alias: sourcesByName() }),
    define: { ...constants, __EDGE_EXPORTS__: 'exports' },
    // Our classes set every field in their constructors; declaring the fields would only add bytes.
    tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } },
    logOverride: { 'commonjs-variable-in-esm': 'silent' },
  });
  if (!published) writeFileSync(outfile, squeeze(requiringOnce(readFileSync(outfile, 'utf8'))));
}

/** In a clone the package's own names stand for its sources: those that your own function imports. */
function sourcesByName(): Record<string, string> {
  return Object.fromEntries([...readPackageNames(root)].map(([name, source]) => [name, join(root, source)]));
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
  return swc().minifySync(code, { compress, mangle: { toplevel: true }, ecma: 2020, module: false }).code;
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
