/** What the commands `preflight` and `verify` find out. */

/** `note`: worth knowing; `unknown`: it could not be found out. */
export type State = 'good' | 'bad' | 'note' | 'unknown';

/** One finding. */
export interface Check {
  readonly state: State;
  /** What kind of thing was looked at: `table`, `certificate`. For scripts. */
  readonly name: string;
  /** Which one: a name, an ARN, a region. */
  readonly value: string;
  /** A sentence with the value in it. */
  readonly what: string;
  /** What to do about it. */
  readonly advice?: string | undefined;
}

const create =
  (state: State) =>
  (name: string, value: string, what: string, advice?: string): Check => ({
    ...{ state, name, value, what },
    ...(advice !== undefined && { advice }),
  });
export const good = create('good');
export const bad = create('bad');
export const note = create('note');
export const unknown = create('unknown');

/** Runs some checks, a few at a time and in their order. What one of them throws is an unknown in its place. */
export async function inTurns<T>(
  items: Iterable<T>,
  run: (item: T) => Promise<readonly Check[]>,
  failed: (item: T, error: unknown) => Check,
): Promise<Check[]> {
  const all = [...items];
  const checks: Check[] = [];
  for (let start = 0; start < all.length; start += 8) {
    const some = all.slice(start, start + 8);
    const found = await Promise.all(some.map((item) => run(item).catch((error) => [failed(item, error)])));
    checks.push(...found.flat());
  }
  return checks;
}

export interface Counts {
  readonly bad: number;
  readonly unknown: number;
}

export function countOf(checks: readonly Check[]): Counts {
  const of = (state: State) => checks.filter((one) => one.state === state).length;
  return { bad: of('bad'), unknown: of('unknown') };
}

/** As one JSON object with a line at its end. `ok`: the exit code is 0. */
export function jsonOf(stage: string, checks: readonly Check[], ok: boolean): string {
  return `${JSON.stringify({ stage, ok, ...countOf(checks), checks }, undefined, 2)}\n`;
}
