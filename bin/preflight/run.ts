import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { GetParameterCommand, ParameterNotFound, SSMClient } from '@aws-sdk/client-ssm';
import { parseStage } from '../../lib/infrastructure/stages.ts';
import { environmentsPath } from '../../relay-task/environments/ssm-parameters.ts';
import { describeAwsError } from '../keys/store.ts';
import { outboundOf } from '../outbound.ts';
import { accountCheck, bad, type Check, good, type LookedAt, linesOf, note } from './checks.ts';
import { differenceChecks, keyChecks } from './keys.ts';
import { onlineChecks } from './online.ts';
import { type RelayView, readAsRelay } from './relay-view.ts';
import { tableChecks } from './table.ts';

export interface PreflightOptions {
  readonly stage: string;
  /** Ask LaunchDarkly whether it takes the SDK keys. */
  readonly online: boolean;
  readonly baseUri: string;
  /** For tests: stages other than those of the stage files. */
  readonly stages?: Readonly<Record<string, unknown>>;
}

/** Prints every check. Returns the exit code: 1 if anything is wrong. */
export async function runPreflight(options: PreflightOptions, out: (text: string) => void): Promise<number> {
  let failed = 0;
  const tell = (checks: readonly Check[]) => {
    failed += checks.filter(({ state }) => state === 'bad').length;
    out(linesOf(checks));
  };
  const looked = lookAt(options, tell);
  if (looked !== undefined) await inspect(looked, options, tell);
  out(failed === 0 ? '\nReady to deploy.\n' : `\n${failed} ${failed === 1 ? 'problem' : 'problems'} to fix.\n`);
  return failed === 0 ? 0 : 1;
}

function lookAt({ stage, stages }: PreflightOptions, tell: (checks: readonly Check[]) => void): LookedAt | undefined {
  try {
    const parsed = stages === undefined ? parseStage(stage) : parseStage(stage, stages);
    tell([good(`stage ${stage} is valid`)]);
    return {
      ...parsed,
      edgePrefix: parsed.edge?.prefix,
      certificates: [...Object.values(parsed.relay.certificates), parsed.edge?.certificateArn ?? ''].filter(Boolean),
    };
  } catch (error) {
    tell([bad((error as Error).message, 'correct the stage file in lib/infrastructure/stages')]);
    return undefined;
  }
}

async function inspect(looked: LookedAt, options: PreflightOptions, tell: (checks: readonly Check[]) => void) {
  const { stage } = options;
  const { homeRegion, relayRegions, replicaRegions } = looked;
  tell(certificateChecks(looked));
  const outbound = readOutbound(tell);
  if (outbound === undefined) return;
  // Each client closes its agents.
  const through = () => {
    const agents = outbound.awsAgents();
    return agents && { requestHandler: agents };
  };
  const clients = new Map<string, SSMClient>();
  const clientOf = (region: string) => {
    const client = clients.get(region) ?? new SSMClient({ region, ...through() });
    clients.set(region, client);
    return client;
  };
  const dynamoDB = new DynamoDBClient({ region: homeRegion, ...through() });
  try {
    // Without credentials every further check would fail the same way.
    await clientOf(homeRegion).config.credentials();
  } catch (error) {
    return tell([bad('not signed in to AWS', describeAwsError(error, homeRegion))]);
  }

  const views = new Map<string, RelayView>();
  for (const region of new Set([homeRegion, ...relayRegions])) {
    try {
      const view = await readAsRelay(clientOf(region), environmentsPath(stage), looked.tableName);
      views.set(region, view);
      const account = accountCheck(view.arn, looked.account);
      tell([...(account ? [account] : []), ...keyChecks(stage, region, view, looked)]);
    } catch (error) {
      tell([bad(`cannot read the keys in ${region}`, describeAwsError(error, region))]);
    }
    const home = views.get(homeRegion);
    const view = views.get(region);
    if (home && view && region !== homeRegion) tell(differenceChecks(home, region, view));
  }
  tell(await tableChecks(dynamoDB, looked));
  const edge = looked.edgePrefix === undefined ? [] : ['us-east-1'];
  for (const region of new Set([homeRegion, ...relayRegions, ...replicaRegions, ...edge])) {
    tell([await bootstrapCheck(clientOf(region), region)]);
  }
  if (options.online) tell(await onlineChecks(options.baseUri, views.get(homeRegion)?.descriptions ?? []));
  dynamoDB.destroy();
  for (const client of clients.values()) client.destroy();
}

/** Undefined, and told, when a proxy or a CA file is invalid. */
function readOutbound(tell: (checks: readonly Check[]) => void) {
  try {
    return outboundOf(process.env);
  } catch (error) {
    tell([bad((error as Error).message, 'correct HTTPS_PROXY, HTTP_PROXY or PROXY_CA_CERTS')]);
    return undefined;
  }
}

/** Stage files come with example certificates of AWS's example account. */
function certificateChecks({ certificates }: LookedAt): Check[] {
  return certificates
    .filter((arn) => /:(111122223333|123456789012):/.test(arn))
    .map((arn) => bad(`the certificate ${arn} is an example`, 'put your own into the stage file'));
}

/** `cdk bootstrap` stores its version in SSM; the CDK's templates require 6 or later. */
async function bootstrapCheck(client: SSMClient, region: string): Promise<Check> {
  const advice = `npx cdk bootstrap aws://<account>/${region}`;
  try {
    const { Parameter } = await client.send(new GetParameterCommand({ Name: '/cdk-bootstrap/hnb659fds/version' }));
    const version = Number(Parameter?.Value);
    return version >= 6
      ? good(`${region} is bootstrapped for the CDK (version ${version})`)
      : bad(`${region} is bootstrapped for the CDK by an old version, ${Parameter?.Value}`, advice);
  } catch (error) {
    if (error instanceof ParameterNotFound) return bad(`${region} is not bootstrapped for the CDK`, advice);
    return note(`cannot tell whether ${region} is bootstrapped for the CDK`, describeAwsError(error, region));
  }
}
