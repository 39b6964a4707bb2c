import type { Stage } from '../../lib/infrastructure/stages.ts';
import { sleep } from '../../relay-task/common/pause.ts';
import { type OpenAws, openAws } from '../aws/open.ts';
import { signIn } from '../aws/sign-in.ts';
import { bad, type Check, countOf, jsonOf } from '../checks/check.ts';
import { type Paper, tableOf } from '../checks/print.ts';
import { stageOf, UnknownStageArgument } from '../stage-of.ts';
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
  /** For tests: stages other than those of the stage files. */
  readonly stages?: Readonly<Record<string, unknown>>;
  /** For tests: what synthesis gives. */
  readonly synthesise?: (stage: Stage) => readonly WantedPlace[];
  /** For tests: how the addresses of the site are reached. */
  readonly reach?: (url: string) => string;
  /** For tests: waits before the next look. */
  readonly pause?: (ms: number) => Promise<void>;
}

export interface Output {
  /** The result. */
  out(text: string): void;
  /** What happens meanwhile. */
  say(text: string): void;
}

const DEADLINE_MS = 180_000;
const AGAIN_MS = 15_000;

/**
 * Prints what works and what does not. Returns the exit code: 1 if anything does not work or could not be checked. Rejects with
 * UnknownStageArgument.
 */
export async function runVerify(options: VerifyOptions, { out, say }: Output): Promise<number> {
  const { stage: name, json, paper, waitMs, pause = sleep } = options;
  const tell = (checks: readonly Check[]) =>
    out(json ? jsonOf(name, checks) : tableOf(checks, paper) + verdictOf(name, checks));
  let stage: Stage;
  let wanted: readonly WantedPlace[];
  try {
    stage = stageOf(name, options.stages);
    say(`Looking at stage ${name} …\n`);
    // The CDK takes a second to load, and an unknown stage should fail at once.
    wanted = (options.synthesise ?? (await import('../preflight/templates.ts')).synthesise)(stage);
  } catch (error) {
    if (error instanceof UnknownStageArgument) throw error;
    tell([bad('stage', name, (error as Error).message, 'correct the stage file in lib/infrastructure/stages')]);
    return 1;
  }
  for (let waited = 0; ; waited += AGAIN_MS) {
    const checks = await look(stage, wanted, options.reach);
    const { bad: failed, unknown } = countOf(checks);
    if (failed + unknown === 0 || waited >= waitMs) {
      tell(checks);
      return failed + unknown === 0 ? 0 : 1;
    }
    say(`${failed + unknown} of ${checks.length} checks do not pass yet; looking again in ${AGAIN_MS / 1_000} s\n`);
    await pause(AGAIN_MS);
  }
}

function verdictOf(stage: string, checks: readonly Check[]): string {
  const { bad: failed, unknown } = countOf(checks);
  if (failed + unknown === 0) return `\nStage ${stage} works.\n`;
  const open = unknown === 0 ? '' : `${failed === 0 ? '' : ', '}${unknown} could not be checked (?)`;
  return `\n${failed === 0 ? '' : `${failed} ${failed === 1 ? 'thing does' : 'things do'} not work`}${open}.\n`;
}

async function look(stage: Stage, wanted: readonly WantedPlace[], reach?: (url: string) => string): Promise<Check[]> {
  let open: OpenAws;
  try {
    open = openAws(process.env, AbortSignal.timeout(DEADLINE_MS));
  } catch (error) {
    return [bad('proxy', 'environment', (error as Error).message, 'correct HTTPS_PROXY, HTTP_PROXY or PROXY_CA_CERTS')];
  }
  try {
    const signedIn = await signIn(open, stage);
    // In another account nothing of the stage is to be found.
    if (signedIn.check.state === 'bad') return [signedIn.check];
    const { checks, deployment } = await stackChecks(stage, open.aws, wanted);
    if (deployment.stacks.size === 0) return [signedIn.check, ...checks];
    const sections = [
      leftChecks(stage, open, wanted),
      serviceChecks(deployment),
      targetChecks(deployment),
      streamChecks(deployment),
      tableChecks(stage, open),
      flagChecks(stage, open),
      edgeChecks(deployment, reach),
      alarmChecks(deployment),
      subscriptionChecks(deployment),
      logChecks(deployment),
    ];
    return [signedIn.check, ...checks, ...(await Promise.all(sections)).flat()];
  } finally {
    open.close();
  }
}
