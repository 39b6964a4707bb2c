import { request as requestPlain } from 'node:http';
import { request as requestSecure } from 'node:https';
import { setTimeout as pause } from 'node:timers/promises';
import { typeOf } from '../common/aws-calls.ts';
import type { AwsReply, AwsRequest } from '../common/aws-request.ts';
import { problemOf } from '../common/problem.ts';

/** What CloudFormation asks of a custom resource. AWS: "Custom resource request objects". */
export interface CustomResourceRequest {
  readonly RequestType: 'Create' | 'Update' | 'Delete';
  readonly ResponseURL: string;
  readonly StackId: string;
  readonly RequestId: string;
  readonly LogicalResourceId: string;
  readonly PhysicalResourceId?: string;
  readonly ResourceProperties: EdgeLogGroupsProperties;
  /** What the properties were, in an update. */
  readonly OldResourceProperties?: EdgeLogGroupsProperties;
}

/** What the rule asks once a day: a group that somebody deletes comes back without a retention. */
export interface DailyRequest {
  readonly RequestType: 'Daily';
  readonly ResourceProperties: EdgeLogGroupsProperties;
}

interface EdgeLogGroupsProperties {
  readonly LogGroupNames: readonly string[];
  readonly RetentionInDays: string | number;
  /** Where edge functions run. */
  readonly Regions: readonly string[];
  /** Regions that must accept their log groups; the account may be barred from others. */
  readonly RequiredRegions: readonly string[];
  /** ARNs of KMS keys. In other regions CloudWatch's own keys are used. */
  readonly KeysByRegion?: Readonly<Record<string, string>>;
}

export interface EdgeLogGroupsOptions {
  readonly send: (request: AwsRequest) => Promise<AwsReply>;
  /** How long to wait before trying again, in milliseconds. Default 1 s, 2 s, 4 s, 8 s. */
  readonly pausesMs?: readonly number[];
  readonly log?: (line: string) => void;
}

/**
 * A custom resource: gives log groups a retention in every region where edge functions run, and creates those that do not exist. Edge
 * functions create their groups themselves, without a retention, so the stack cannot own them. A KMS key that leaves the stage leaves the
 * groups, too. They stay when the resource is deleted, since functions may write for hours after it: their events expire.
 */
export function createEdgeLogGroups({
  send,
  pausesMs = [1_000, 2_000, 4_000, 8_000],
  log = console.log,
}: EdgeLogGroupsOptions): (event: CustomResourceRequest | DailyRequest) => Promise<void> {
  const call = (region: string, action: string, body: object) =>
    patiently(pausesMs, DONE[action], () =>
      send({
        ...{ service: 'logs', region, path: '/', timeoutMs: 5_000, body: JSON.stringify(body) },
        headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': `Logs_20140328.${action}` },
      }),
    );
  const keep = async (region: string, logGroupName: string, retentionInDays: number, kmsKeyId?: string) => {
    await call(region, 'CreateLogGroup', { logGroupName });
    if (kmsKeyId !== undefined) await call(region, 'AssociateKmsKey', { logGroupName, kmsKeyId });
    await call(region, 'PutRetentionPolicy', { logGroupName, retentionInDays });
  };
  const keepAll = ({ LogGroupNames, RetentionInDays, Regions, KeysByRegion = {} }: EdgeLogGroupsProperties) =>
    inRegions(Regions, async (region) => {
      for (const name of LogGroupNames) await keep(region, name, Number(RetentionInDays), KeysByRegion[region]);
    });
  const releaseAll = (keyless: ReadonlyMap<string, Keyless>) =>
    inRegions(keyless.keys(), async (region) => {
      const { names, key } = keyless.get(region)!;
      for (const logGroupName of names) {
        await call(region, 'DisassociateKmsKey', { logGroupName }).catch((error) => {
          throw new Error(`${logGroupName} still has the key ${key}, ${KEEP_KEY}: ${problemOf(error)}`, {
            cause: error,
          });
        });
      }
    });

  /** Why it failed where it must not. */
  const work = async (event: CustomResourceRequest | DailyRequest): Promise<string> => {
    if (event.RequestType === 'Delete') return '';
    const { RequiredRegions } = event.ResourceProperties;
    const kept = await keepAll(event.ResourceProperties);
    const released = event.RequestType === 'Daily' ? new Map() : await releaseAll(keylessGroups(event));
    for (const [region, problem] of [...kept, ...released]) {
      const message = 'Cannot set up the log groups of edge functions';
      log(JSON.stringify({ level: 'warn', message, region, problem }));
    }
    // A group that nobody can write or read once its key is deleted is never a trifle.
    const fatal = [...[...kept].filter(([region]) => RequiredRegions.includes(region)), ...released];
    return fatal.map(([region, problem]) => `${region}: ${problem}`).join('; ');
  };

  return async (event) => {
    const reason = await work(event);
    if (event.RequestType === 'Daily') {
      if (reason !== '') throw new Error(reason);
      return;
    }
    await answer(event, reason === '' ? { Status: 'SUCCESS' } : { Status: 'FAILED', Reason: reason.slice(0, 1_000) });
  };
}

const KEEP_KEY = 'so allow that, or keep the key in encryptionKeys';

/** Acts in all regions at once. Returns the problems by region. */
async function inRegions(
  regions: Iterable<string>,
  act: (region: string) => Promise<void>,
): Promise<Map<string, string>> {
  const failed = new Map<string, string>();
  await Promise.all([...regions].map((region) => act(region).catch((error) => failed.set(region, problemOf(error)))));
  return failed;
}

interface Keyless {
  readonly names: readonly string[];
  readonly key: string | undefined;
}

/**
 * By region, the groups that have a KMS key which is no longer in the stage. Without a change they would use it for ever, and could not be
 * written or read once it is deleted. Groups that left the stage are among them: their events are kept until they expire.
 */
function keylessGroups({
  ResourceProperties,
  OldResourceProperties: old,
}: CustomResourceRequest): ReadonlyMap<string, Keyless> {
  const { KeysByRegion = {} } = ResourceProperties;
  const regions = Object.keys(old?.KeysByRegion ?? {}).filter((region) => KeysByRegion[region] === undefined);
  const known = regions.filter((region) => old?.Regions.includes(region));
  return new Map(
    known.map((region) => [region, { names: old?.LogGroupNames ?? [], key: old?.KeysByRegion?.[region] }]),
  );
}

/** Is the case already, so that the request has nothing to do: the group exists, or one that loses its key is gone. */
const DONE: Readonly<Record<string, string>> = {
  CreateLogGroup: 'ResourceAlreadyExistsException',
  DisassociateKmsKey: 'ResourceNotFoundException',
};

/** Tries again while AWS asks for patience. An answer whose type ends in `done` is fine. */
async function patiently(
  pausesMs: readonly number[],
  done: string | undefined,
  send: () => Promise<AwsReply>,
): Promise<void> {
  for (const pauseMs of [...pausesMs, undefined]) {
    const { status, type } = await send().then(
      ({ status, body }) => ({ status, type: typeOf(body) }),
      (error) => ({ status: 0, type: problemOf(error) }),
    );
    if (status === 200 || (done !== undefined && type.endsWith(done))) return;
    // The function's own permission may be seconds old.
    const passing = status === 0 || status >= 500 || /AccessDenied|Throttl|OperationAborted|TooManyRequests/.test(type);
    if (!passing || pauseMs === undefined)
      throw new Error(`CloudWatch Logs: ${status === 0 ? '' : `${status} `}${type}`);
    await pause(pauseMs);
  }
}

/** AWS: "Custom resource response objects". Rejects if the answer cannot be delivered: Lambda then runs the function again. */
function answer(
  event: CustomResourceRequest,
  result: { readonly Status: 'SUCCESS' | 'FAILED'; readonly Reason?: string },
): Promise<void> {
  const { ResponseURL, StackId, RequestId, LogicalResourceId } = event;
  const body = JSON.stringify({
    ...result,
    StackId,
    RequestId,
    LogicalResourceId,
    PhysicalResourceId: 'edge-log-groups',
  });
  const url = new URL(ResponseURL);
  const request = url.protocol === 'https:' ? requestSecure : requestPlain;
  // Signed without a type.
  const headers = { 'content-type': '', 'content-length': String(Buffer.byteLength(body)) };
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(10_000);
    const outgoing = request(url, { method: 'PUT', headers, signal }, (incoming) => {
      incoming.resume();
      const { statusCode = 0 } = incoming;
      if (statusCode >= 200 && statusCode < 300) resolve();
      else reject(new Error(`CloudFormation answered ${statusCode}`));
    });
    outgoing.on('error', (cause) => reject(new Error(`CloudFormation cannot be reached: ${cause.message}`, { cause })));
    outgoing.end(body);
  });
}
