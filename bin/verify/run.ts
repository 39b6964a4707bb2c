import type { Stage } from '../../lib/infrastructure/stages.ts';
import { sleep } from '../../relay-task/common/pause.ts';
import { type OpenAws, type OpenAwsOptions, openAws } from '../aws/open.ts';
import { signIn } from '../aws/sign-in.ts';
import { bad, type Check, countOf, jsonOf } from '../checks/check.ts';
import { type Paper, tableOf } from '../checks/print.ts';
import { describeFailure } from '../cli/usage.ts';
import { STAGES_ARE, stageOf, UnknownStageArgument } from '../stage-of.ts';
import { leftChecks, stackChecks, type WantedPlace } from './deployment.ts';
import { edgeChecks } from './edge.ts';
import { serviceChecks, streamChecks, targetChecks } from './relays.ts';
import { flagChecks, tableChecks } from './table.ts';
import { alarmChecks, logChecks, subscriptionChecks } from './watching.ts';

export interface VerifyOptions {
  readonly stage: string;
  readonly json: boolean;
  /** Check again until everything works, at most this long. */
  readonly waitMs: number;
  readonly paper?: Paper;
  /** For tests: shorter times. */
  readonly times?: OpenAwsOptions;
  /** Stages other than those of the stage files: of a CDK app, or for tests. */
  readonly stages?: Readonly<Record<string, unknown>>;
  /** What synthesis gave, or gives. */
  readonly synthesise?: (stage: Stage) => readonly WantedPlace[];
  /** The command that deploys the stage. */
  readonly deploy?: string;
  /** For tests: how the addresses of the site are reached. */
  readonly reach?: (url: string) => string;
  /** For tests: waits before the next look. */
  readonly pause?: (ms: number) => Promise<void>;
  /** For tests: a clock in ms. */
  readonly now?: () => number;
}

export interface Output {
  /** The result. */
  out(text: string): void;
  /** What happens meanwhile. */
  say(text: string): void;
}

const AGAIN_MS = 15_000;

/**
 * Prints what works and what does not. Returns the exit code: 1 if anything does not work or could not be checked. Rejects with
 * UnknownStageArgument.
 */
export async function runVerify(options: VerifyOptions, { out, say }: Output): Promise<number> {
  const { stage: name, json, paper, waitMs, pause = sleep, now = Date.now } = options;
  const tell = (checks: readonly Check[]): number => {
    const ok = works(checks);
    out(json ? jsonOf(name, checks, ok) : tableOf(checks, paper) + verdictOf(name, checks));
    return ok ? 0 : 1;
  };
  let stage: Stage;
  let wanted: readonly WantedPlace[];
  try {
    stage = stageOf(name, options.stages);
    say(`Looking at stage ${name} …\n`);
    // The CDK takes a second to load, and an unknown stage should fail at once.
    wanted = (options.synthesise ?? (await import('../preflight/templates.ts')).synthesise)(stage);
  } catch (error) {
    if (error instanceof UnknownStageArgument) throw error;
    return tell([bad('stage', name, describeFailure(error), `correct ${STAGES_ARE}`)]);
  }
  const until = now() + waitMs;
  for (;;) {
    const { checks, final = false } = await look(stage, wanted, options);
    if (final || works(checks) || now() + AGAIN_MS > until) return tell(checks);
    const { bad: failed, unknown } = countOf(checks);
    say(`${failed + unknown} of ${checks.length} checks do not pass yet; looking again in ${AGAIN_MS / 1_000} s\n`);
    await pause(AGAIN_MS);
  }
}

function works(checks: readonly Check[]): boolean {
  const { bad: failed, unknown } = countOf(checks);
  return failed + unknown === 0;
}

function verdictOf(stage: string, checks: readonly Check[]): string {
  const { bad: failed, unknown } = countOf(checks);
  if (failed + unknown === 0) return `\nStage ${stage} works.\n`;
  const open = unknown === 0 ? '' : `${failed === 0 ? '' : ', '}${unknown} could not be checked (?)`;
  return `\n${failed === 0 ? '' : `${failed} ${failed === 1 ? 'thing does' : 'things do'} not work`}${open}.\n`;
}

interface Look {
  readonly checks: readonly Check[];
  /** Waiting changes nothing. */
  readonly final?: boolean;
}

async function look(
  stage: Stage,
  wanted: readonly WantedPlace[],
  { reach, times, deploy }: Pick<VerifyOptions, 'reach' | 'times' | 'deploy'>,
): Promise<Look> {
  let open: OpenAws;
  try {
    open = openAws(process.env, times);
  } catch (error) {
    const check = bad(
      'environment',
      'variables',
      (error as Error).message,
      'correct or unset that environment variable',
    );
    return { checks: [check], final: true };
  }
  try {
    const signedIn = await signIn(open, stage);
    // In another account nothing of the stage is to be found.
    if (signedIn.check.state === 'bad') return { checks: [signedIn.check], final: !signedIn.passing };
    const { checks, deployment } = await stackChecks(stage, open.aws, wanted, deploy);
    if (deployment.stacks.size === 0) return { checks: [signedIn.check, ...checks] };
    const sections = [
      leftChecks(stage, open, wanted),
      serviceChecks(deployment),
      targetChecks(deployment),
      streamChecks(deployment),
      tableChecks(stage, open),
      flagChecks(stage, open),
      edgeChecks(deployment, open, reach),
      alarmChecks(deployment),
      subscriptionChecks(deployment),
      logChecks(deployment),
    ];
    return { checks: [signedIn.check, ...checks, ...(await Promise.all(sections)).flat()] };
  } finally {
    open.close();
  }
}
