import { commandText } from '../command-text.ts';
import { edgeProblems } from './check-edge.ts';
import { checkNames } from './check-names.ts';
import { certifies } from './hosted-zone.ts';
import { alarmRegions, checkRecipients } from './observability/recipients.ts';
import { EDGE_EXECUTION_REGIONS, EDGE_REGION } from './regions.ts';
import {
  describeAgentProblem,
  describeFargateProblem,
  describeTimeoutProblem,
  forwardsEvents,
  LEAST_TASKS,
  managedVariables,
  otherSources,
  redisVariables,
  spoolVariables,
} from './relay-contract.ts';
import type { Network, Stage } from './stage.ts';
import type { Problems } from './stage-readers.ts';
import type { RelaySettings, StageSettings } from './stage-settings.ts';
import { isZoneOf } from './zone-subnets.ts';

/** Checks properties against each other, after each was checked by itself; `given` is the stage without its defaults. */
export function checkStage(stage: Stage, given: StageSettings, problems: Problems): void {
  checkRegions(stage, problems);
  for (const region of [stage.homeRegion, ...stage.relayRegions]) {
    const network = stage.networks[region];
    if (network) checkNetwork(stage, region, network, problems);
  }
  checkRelay(stage, given, problems);
  checkVariables(stage, problems);
  checkEdge(stage, problems);
  checkNames(stage, problems);
  checkRecipients(stage, problems);
  checkTags(stage, problems);
}

/** AWS: 50 tags of a resource. Subnets have three of the CDK's and the two of the app. */
const MOST_TAGS = 45;

/** IAM does not tell the case of tag names apart, and refuses a role with both. */
function checkTags({ tags }: Stage, problems: Problems): void {
  const names = Object.keys(tags);
  if (names.length > MOST_TAGS)
    problems.say('tags', `tags: ${names.length} are too many: expected at most ${MOST_TAGS}`);
  for (const [index, name] of names.entries()) {
    const isLike = (other: string) => other.toLowerCase() === name.toLowerCase();
    if (['application', 'stage'].some(isLike))
      problems.say(`tags.${name}`, `tags.${name} is set by the app: remove it`);
    const twin = names.slice(0, index).find(isLike);
    if (twin !== undefined) problems.say(`tags.${name}`, `tags.${name} is the same as tags.${twin} to IAM: remove one`);
  }
}

function checkRegions(stage: Stage, problems: Problems): void {
  const { homeRegion, replicaRegions, relayRegions } = stage;
  if (replicaRegions.includes(homeRegion)) {
    problems.say('replicaRegions', `replicaRegions must not contain the home region ${homeRegion}`);
  }
  const partitions = new Set([homeRegion, ...replicaRegions].map(partitionOf));
  if (partitions.size > 1) {
    problems.say(
      'replicaRegions',
      `replicaRegions must be in the partition of ${homeRegion}: a table cannot span partitions`,
    );
  }
  for (const region of relayRegions) {
    if (region === homeRegion) {
      problems.say(
        'relayRegions',
        `relayRegions must not contain the home region ${homeRegion}: it always has a relay`,
      );
    } else if (!replicaRegions.includes(region)) {
      problems.say(
        'relayRegions',
        `relayRegions: ${region} must be one of replicaRegions, since its relay boots from a replica`,
      );
    }
  }
  for (const region of Object.keys(stage.networks)) {
    if (region !== homeRegion && !relayRegions.includes(region)) {
      problems.say(`networks.${region}`, `networks.${region} has no effect: there is no relay in that region`);
    }
  }
}

function partitionOf(region: string): string {
  return region.startsWith('cn-') ? 'aws-cn' : region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws';
}

function checkNetwork(stage: Stage, region: string, network: Network, problems: Problems): void {
  const { vpc } = network;
  const at = `networks.${region}`;
  const [zones, path] = vpc ? [vpc.zones, `${at}.vpc.zones`] : [network.zones, `${at}.zones`];
  const foreign = zones?.find((zone) => !isZoneOf(region, zone));
  if (foreign) problems.mustBe(path, zones, `zones of ${region}`);
  // Load balancers need two. That is enough in production too, with at least three tasks.
  if (zones && zones.length < 2) {
    problems.mustBe(path, zones, 'at least 2 zones');
    return;
  }
  if (!vpc) {
    const bits = Number(network.cidr.split('/')[1]);
    if (bits < 16 || bits > 22) problems.mustBe(`${at}.cidr`, network.cidr, 'a prefix length from /16 to /22');
    if (stage.production && network.nat === 'none') {
      problems.mustBe(`${at}.nat`, network.nat, 'per-zone or one in production, where tasks get no public address');
    }
    return;
  }
  const { privateSubnetIds, publicSubnetIds } = vpc;
  for (const [name, ids] of Object.entries({ privateSubnetIds, publicSubnetIds })) {
    if (ids && zones && ids.length !== zones.length) {
      problems.mustBe(`${at}.vpc.${name}`, ids, `one subnet for each of the ${zones.length} zones`);
    }
  }
  if (stage.relay.publicAccess && !publicSubnetIds) {
    problems.say(`${at}.vpc.publicSubnetIds`, `${at}.vpc.publicSubnetIds is missing: relay.publicAccess needs it`);
  }
}

function checkRelay(stage: Stage, given: StageSettings, problems: Problems): void {
  const { relay, production } = stage;
  if (production && relay.tasks < LEAST_TASKS) {
    problems.mustBe('relay.tasks', given.relay?.tasks, `at least ${LEAST_TASKS} in production`);
  }
  if (relay.maxTasks < relay.tasks) {
    const why = relay.expectedStreams ? ' (twice expectedStreams divided by streamsPerTask)' : '';
    problems.mustBe(
      'relay.maxTasks',
      relay.maxTasks,
      `at least ${relay.tasks}, the number of tasks that always run${why}`,
    );
  }
  const size = describeFargateProblem(relay.cpu, relay.memoryMiB) ?? describeAgentProblem(relay);
  if (size) problems.mustBe('relay.memoryMiB', relay.memoryMiB, size);
  const timeout = describeTimeoutProblem(relay);
  if (timeout) problems.mustBe('relay.idleTimeoutSeconds', relay.idleTimeoutSeconds, timeout);

  if (!relay.loadBalancer) checkUnbalanced(stage, given, problems);
  checkCertificates(
    stage,
    'relay.certificates',
    relay.certificates,
    production && relay.loadBalancer && !certifies(relay.hostedZone),
    problems,
  );
  checkKeys(stage, given, problems);
  checkSpool(stage, problems);
  if (relay.publicAccess) {
    const { certificates, hostedZone } = relay.publicAccess;
    const made = certifies(hostedZone) || certifies(relay.hostedZone);
    checkCertificates(stage, 'relay.publicAccess.certificates', certificates, !made, problems);
  }
  // ElastiCache: identifiers neither end with a hyphen nor have two in a row.
  if (stage.redis && 'serverless' in stage.redis && /--|-$/.test(stage.name)) {
    problems.say(
      'redis.serverless',
      `redis.serverless is refused by ElastiCache, whose names have no -- and no - at their end, as stage ${stage.name} has: use redis.url, or a stage of another name`,
    );
  }
  if (stage.redis && 'url' in stage.redis && production && stage.redis.url.startsWith('redis:')) {
    problems.mustBe('redis.url', stage.redis.url, 'rediss:// in production: flags must be encrypted in transit');
  }
}

function checkSpool({ homeRegion, relayRegions, relay }: Stage, problems: Problems): void {
  if (!relay.eventsSpool) return;
  for (const region of Object.keys(relay.eventsSpool.existing ?? {})) {
    if (region === homeRegion || relayRegions.includes(region)) continue;
    const at = `relay.eventsSpool.existing.${region}`;
    problems.say(at, `${at} has no effect: there is no relay in that region`);
  }
  if (!forwardsEvents(relay.variables)) {
    problems.say(
      'relay.variables.USE_EVENTS',
      'relay.variables.USE_EVENTS must be true, or left out: relay.eventsSpool keeps events that the relay forwards',
    );
  }
}

function checkKeys(stage: Stage, given: StageSettings, problems: Problems): void {
  const keys = { 'relay.encryptionKeys': given.relay?.encryptionKeys, encryptionKeys: given.encryptionKeys };
  for (const [at, byRegion = {}] of Object.entries(keys)) {
    for (const [region, arn] of Object.entries(byRegion)) {
      if (arn.split(':')[3] !== region) problems.mustBe(`${at}.${region}`, arn, `a key in ${region}`);
    }
  }
  if (!given.encryptionKeys) return;
  const regions = new Set([stage.homeRegion, ...stage.replicaRegions, ...alarmRegions(stage)]);
  const without = [...regions].filter((region) => !Object.hasOwn(given.encryptionKeys ?? {}, region));
  if (without.length > 0) {
    problems.say(
      'encryptionKeys',
      `encryptionKeys has no key for ${without.join(', ')}: each region of the stage needs one`,
    );
  }
}

/** What only a load balancer needs. */
const OF_LOAD_BALANCERS = [
  'publicAccess',
  'certificates',
  'hostName',
  'hostedZone',
  'allowedCidrs',
  'idleTimeoutSeconds',
  'healthCheckGraceSeconds',
  'drain',
  'expectedStreams',
  'streamsPerTask',
  'reservedCapacityUnits',
  'accessLogs',
  'eventsSpool',
] as const satisfies readonly (keyof RelaySettings)[];

function checkUnbalanced({ edge }: Stage, { relay = {} }: StageSettings, problems: Problems): void {
  for (const name of OF_LOAD_BALANCERS) {
    if (relay[name] === undefined || relay[name] === false) continue;
    problems.say(`relay.${name}`, `relay.${name} has no effect: relay.loadBalancer is false`);
  }
  if (edge?.exposures) {
    problems.say('edge.exposures', 'edge.exposures go through the load balancer: relay.loadBalancer must not be false');
  }
}

function checkCertificates(
  { account, homeRegion, replicaRegions, relayRegions }: Stage,
  at: string,
  certificates: Readonly<Record<string, string>>,
  required: boolean,
  problems: Problems,
): void {
  const regions = [homeRegion, ...relayRegions];
  for (const [region, arn] of Object.entries(certificates)) {
    const [, , , place, owner] = arn.split(':');
    if (!regions.includes(region))
      problems.say(`${at}.${region}`, `${at}.${region} has no effect: there is no relay in that region`);
    else if (place !== region)
      problems.mustBe(`${at}.${region}`, arn, `a certificate in ${region}, the region of its load balancer`);
    else if (account && owner !== account)
      problems.mustBe(`${at}.${region}`, arn, `a certificate in the stage's account ${account}`);
  }
  if (!required) return;
  const without = [homeRegion, ...relayRegions.filter((region) => replicaRegions.includes(region))].filter(
    (region) => !Object.hasOwn(certificates, region),
  );
  if (without.length > 0) {
    problems.say(at, `${at} has no certificate for ${without.join(', ')}: keys and flags must be encrypted in transit`);
  }
}

/** Why the app decides a variable, with what to do instead; undefined: it does not. */
function whyManaged(name: string, { redis, relay }: Stage): string | undefined {
  if (Object.hasOwn(managedVariables, name)) return managedVariables[name];
  if (redis && redisVariables.includes(name)) return 'set redis';
  return relay.eventsSpool && spoolVariables.includes(name) ? 'set relay.eventsSpool' : undefined;
}

function checkVariables(stage: Stage, problems: Problems): void {
  const { relay } = stage;
  for (const group of ['variables', 'secrets'] as const) {
    for (const name of Object.keys(relay[group])) {
      const at = `relay.${group}.${name}`;
      const managed = whyManaged(name, stage);
      if (managed !== undefined) problems.say(at, `${at} is set by the app: ${managed}`);
      else if (/^LD_(ENV|MOBILE_KEY)_/.test(name))
        problems.say(at, `${at}: store keys in SSM with ${commandText('keys', 'put')}`);
      else if (group === 'variables' && /(PASSWORD|TOKEN|SECRET|_KEY)$/.test(name)) {
        problems.say(at, `${at} is a secret: store it in SSM and put the parameter name in relay.secrets`);
      } else if (group === 'secrets' && Object.hasOwn(relay.variables, name)) {
        problems.say(at, `${at} is also in relay.variables: remove one of them`);
      }
    }
  }
  const sources = otherSources.filter((name) =>
    [relay.variables, relay.secrets].some((one) => Object.hasOwn(one, name)),
  );
  if (sources.length > 1)
    problems.say('relay.variables', `${sources.join(' and ')}: a relay has one source of environments`);
}

function checkExposures({ environments, relay }: Stage, environment: string, problems: Problems): void {
  const at = 'edge.exposures.environment';
  if (!environments.includes(environment)) {
    const known = environments.length > 0 ? `one of ${environments.join(', ')}` : 'an environment of the stage';
    problems.mustBe(at, environment, `${known} (environments)`);
  }
  if (!forwardsEvents(relay.variables)) {
    problems.say(
      'relay.variables.USE_EVENTS',
      'relay.variables.USE_EVENTS must be true, or left out: edge.exposures go through the relay',
    );
  }
}

function checkLogRegions(regions: NonNullable<Stage['edge']>['logRegions'], problems: Problems): void {
  if (regions === undefined || regions === 'all') return;
  for (const [index, region] of regions.entries()) {
    if ((EDGE_EXECUTION_REGIONS as readonly string[]).includes(region)) continue;
    const wanted = `a region in which Lambda@Edge runs: ${EDGE_EXECUTION_REGIONS.join(', ')}`;
    problems.mustBe(`edge.logRegions[${index}]`, region, wanted);
  }
}

function checkEdge(stage: Stage, problems: Problems): void {
  const { edge, homeRegion, account } = stage;
  if (!edge) return;
  if (partitionOf(homeRegion) !== 'aws') {
    problems.say('edge', `edge must be left out: Lambda@Edge is not available in the partition of ${homeRegion}`);
  }
  for (const { at, message } of edgeProblems(edge)) problems.say(`edge.${at}`, `edge.${message}`);
  checkLogRegions(edge.logRegions, problems);
  if (edge.exposures) checkExposures(stage, edge.exposures.environment, problems);
  const [, , , place, owner] = edge.certificateArn?.split(':') ?? [];
  if (edge.certificateArn && place !== EDGE_REGION) {
    problems.mustBe(
      'edge.certificateArn',
      edge.certificateArn,
      `a certificate in ${EDGE_REGION}, the only region that CloudFront accepts`,
    );
  } else if (edge.certificateArn && account && owner !== account) {
    problems.mustBe('edge.certificateArn', edge.certificateArn, `a certificate in the stage's account ${account}`);
  }
  if (edge.hostedZone?.private) {
    problems.mustBe('edge.hostedZone.private', true, 'a public zone: viewers are outside any VPC');
  }
  if (edge.domainNames?.length && !edge.certificateArn && !edge.hostedZone) {
    problems.say('edge.certificateArn', 'edge.certificateArn is missing: edge.domainNames need a certificate');
  }
  if (edge.certificateArn && !edge.domainNames?.length) {
    problems.say(
      'edge.domainNames',
      'edge.domainNames is missing: edge.certificateArn has no use without domain names',
    );
  }
}
