import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { prebuilt } from './prebuilt.ts';

/** What CloudFormation documents of resource types. */
export interface ReplacementRules {
  /** Whether CloudFormation replaces a resource of this type when this property changes ("Update requires: Replacement"), or may. */
  readonly replaces: (type: string, property: string) => boolean;
  /** The properties that together identify a resource of this type; undefined if AWS chooses its identity, or the type is unknown. */
  readonly identity: (type: string) => readonly string[] | undefined;
}

/** What is kept of a resource type. */
interface Rule {
  readonly identity?: readonly string[];
  /** Properties. */
  readonly replaces: readonly string[];
}

interface Entity {
  readonly cloudFormationType: string;
  readonly primaryIdentifier?: readonly string[];
  readonly properties: Readonly<Record<string, { readonly causesReplacement?: 'yes' | 'maybe' | 'no' }>>;
}

/** AWS's database of resource types, which the CDK's command line comes with and uses for `cdk diff`. Takes about 0.3 s. */
const DATABASE = join(import.meta.dirname, '../../node_modules/aws-cdk/db.json.gz');

/** What the published package has instead: the rules alone. */
export const RULES_FILE = 'replacement-rules.json.gz';

let known: ReadonlyMap<string, Rule> | undefined;

/** Throws an Error if the database is not there, or not in the format of the pinned version. */
export function readReplacementRules(): ReplacementRules {
  const prepared = prebuilt(RULES_FILE);
  known ??=
    prepared === undefined ? readDatabase() : new Map(Object.entries(readJson(prepared) as Record<string, Rule>));
  const rules = known;
  return {
    replaces: (type, property) => rules.get(type)?.replaces.includes(property) ?? false,
    identity: (type) => rules.get(type)?.identity,
  };
}

/** Writes the rules of the database into the directory, for the published package. */
export function prepareReplacementRules(outdir: string): void {
  const text = JSON.stringify(Object.fromEntries(readDatabase()));
  writeFileSync(join(outdir, RULES_FILE), gzipSync(text, { level: 9 }));
}

function readDatabase(): ReadonlyMap<string, Rule> {
  const database = readJson(DATABASE) as { schema?: { resource?: { entities?: unknown } } } | undefined;
  const found = database?.schema?.resource?.entities;
  if (!Array.isArray(found) || found.length < 1_000) throw new Error(`${DATABASE} has an unknown format`);
  return new Map((found as Entity[]).map((entity) => [entity.cloudFormationType, ruleOf(entity)]));
}

function ruleOf({ primaryIdentifier = [], properties }: Entity): Rule {
  const given = primaryIdentifier.length > 0 && primaryIdentifier.every((name) => Object.hasOwn(properties, name));
  const replaces = Object.entries(properties).flatMap(([name, { causesReplacement = 'no' }]) =>
    causesReplacement === 'no' ? [] : name,
  );
  return { ...(given && { identity: primaryIdentifier }), replaces };
}

function readJson(file: string): unknown {
  return JSON.parse(gunzipSync(readFileSync(file)).toString('utf8'));
}
