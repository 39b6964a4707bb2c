import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** What CloudFormation documents of resource types. */
export interface ReplacementRules {
  /** Whether CloudFormation replaces a resource of this type when this property changes ("Update requires: Replacement"), or may. */
  readonly replaces: (type: string, property: string) => boolean;
  /** The properties that together identify a resource of this type; undefined if AWS chooses its identity, or the type is unknown. */
  readonly identity: (type: string) => readonly string[] | undefined;
}

interface Entity {
  readonly cloudFormationType: string;
  readonly primaryIdentifier?: readonly string[];
  readonly properties: Readonly<Record<string, { readonly causesReplacement?: 'yes' | 'maybe' | 'no' }>>;
}

/** AWS's database of resource types, which the CDK's command line comes with and uses for `cdk diff`. Takes about 0.3 s. */
const DATABASE = join(import.meta.dirname, '../../node_modules/aws-cdk/db.json.gz');

let entities: ReadonlyMap<string, Entity> | undefined;

/** Throws an Error if the database is not there, or not in the format of the pinned version. */
export function readReplacementRules(): ReplacementRules {
  entities ??= readEntities();
  const known = entities;
  return {
    replaces: (type, property) => {
      const rule = known.get(type)?.properties[property]?.causesReplacement ?? 'no';
      return rule !== 'no';
    },
    identity: (type) => {
      const { primaryIdentifier = [], properties = {} } = known.get(type) ?? {};
      const given = primaryIdentifier.length > 0 && primaryIdentifier.every((name) => Object.hasOwn(properties, name));
      return given ? primaryIdentifier : undefined;
    },
  };
}

function readEntities(): ReadonlyMap<string, Entity> {
  const database = JSON.parse(gunzipSync(readFileSync(DATABASE)).toString('utf8'));
  const found: unknown = database?.schema?.resource?.entities;
  if (!Array.isArray(found) || found.length < 1_000) throw new Error(`${DATABASE} has an unknown format`);
  return new Map((found as Entity[]).map((one) => [one.cloudFormationType, one]));
}
