import { readFileSync } from 'node:fs';
import { parseFlagsFile } from '../../relay-task/upstream/flags-file.ts';

/** What `npm start` looks at in a flag, as files and `GET /sdk/latest-all` have it. */
export interface KnownFlag {
  readonly on?: boolean;
  readonly variations?: readonly unknown[];
  readonly offVariation?: number | null;
  readonly fallthrough?: { readonly variation?: number; readonly rollout?: unknown };
  readonly targets?: readonly { readonly values?: readonly string[] }[];
  readonly rules?: readonly { readonly clauses?: readonly KnownClause[] }[];
}

export interface KnownClause {
  readonly contextKind?: string;
  readonly attribute?: string;
  readonly op?: string;
  readonly values?: readonly unknown[];
  readonly negate?: boolean;
}

export type KnownFlags = Readonly<Record<string, KnownFlag>>;

/** None if the file cannot be read, which the relay reports. */
export function flagsIn(path: string): KnownFlags {
  try {
    const file = parseFlagsFile(readFileSync(path, 'utf8'), path);
    if ('problem' in file) return {};
    const flags = file.entries.filter(({ kind }) => kind === 'features');
    return Object.fromEntries(flags.map(({ key, data }) => [key, data as KnownFlag]));
  } catch {
    return {};
  }
}

/** The environment's flags as the relay has them; undefined while they are not known. */
export async function flagsOf(relayUrl: string, sdkKey: string): Promise<KnownFlags | undefined> {
  const answer = await fetch(`${relayUrl}/sdk/latest-all`, { headers: { Authorization: sdkKey } }).catch(
    () => undefined,
  );
  if (!answer?.ok) return undefined;
  const { flags } = (await answer.json()) as { readonly flags?: KnownFlags };
  return flags;
}
