/** The result of one check: OK, wrong, or worth knowing. */
export interface Check {
  readonly state: 'good' | 'bad' | 'note';
  readonly what: string;
  /** What to do about it. */
  readonly advice?: string | undefined;
}

export const good = (what: string): Check => ({ state: 'good', what });
export const bad = (what: string, advice?: string): Check => ({ state: 'bad', what, advice });
export const note = (what: string, advice?: string): Check => ({ state: 'note', what, advice });

/** The parts of a stage that preflight checks. */
export interface LookedAt {
  readonly account?: string | undefined;
  readonly homeRegion: string;
  readonly replicaRegions: readonly string[];
  readonly tableName: string;
  readonly table: 'new' | 'existing';
  readonly environments: readonly string[];
  readonly relayRegions: readonly string[];
  /** The prefix of the environment that the edge reads; undefined without an edge. */
  readonly edgePrefix?: string | undefined;
  readonly certificates: readonly string[];
}

const marks = { good: '✓', bad: '✗', note: '!' } as const;

export function linesOf(checks: readonly Check[]): string {
  return checks
    .map(({ state, what, advice }) => `${marks[state]} ${what}\n${advice === undefined ? '' : `    → ${advice}\n`}`)
    .join('');
}

/** Whether an ARN's account is the stage's; undefined if the ARN or the stage has none. */
export function accountCheck(arn: string | undefined, expected: string | undefined): Check | undefined {
  const account = arn?.split(':')[4];
  if (!account || expected === undefined) return undefined;
  return account === expected
    ? good(`the credentials belong to account ${account}, the stage’s account`)
    : bad(
        `the credentials belong to account ${account}, but the stage’s account is ${expected}`,
        `sign in to ${expected} (AWS_PROFILE), or correct account in the stage file`,
      );
}
