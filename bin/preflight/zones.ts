import { certifies } from '../../lib/infrastructure/hosted-zone.ts';
import type { HostedZoneSettings } from '../../lib/infrastructure/stage-settings.ts';
import { listAt, parseXml, textAt, type Xml } from '../aws/xml.ts';
import { bad, type Check, good, inTurns, unknown } from '../checks/check.ts';
import { describeAwsError } from '../keys/store.ts';
import { type LookedAt, mayOwn, ownedName, ownerUnknown } from './looked-at.ts';

interface Names {
  readonly at: string;
  readonly zone: HostedZoneSettings;
  readonly names: readonly string[];
  /** Where the stacks are that make the records. */
  readonly regions: readonly string[];
  /** Latency records, each with the region of its stack. */
  readonly byRegion: boolean;
}

/** Route 53 has one endpoint for all regions. */
const REGION = 'us-east-1';

/** The hosted zones exist as the stage file describes them, and the names in them are free or the stage's. */
export async function zoneChecks(looked: LookedAt): Promise<Check[]> {
  return inTurns(
    namesOf(looked),
    async (one) => {
      const { id, name } = one.zone;
      const answer = parseXml(await looked.aws.get('route53', REGION, `/2013-04-01/hostedzone/${id}`));
      const checks = describedCheck(one, answer);
      if (checks.some(({ state }) => state === 'bad')) return checks;
      for (const record of one.names) checks.push(...(await recordChecks(looked, one, record)));
      return checks.length > 0 ? checks : [good('hosted-zone', id, `the names in the hosted zone ${name} can be made`)];
    },
    ({ at, zone: { id } }, error) =>
      (error as Error).name === 'NoSuchHostedZone'
        ? bad(
            'hosted-zone',
            id,
            `${at}: the hosted zone ${id} does not exist in this account`,
            'correct id in the stage file',
          )
        : unknown('hosted-zone', id, `cannot read the hosted zone ${id}`, describeAwsError(error, REGION)),
  );
}

function namesOf({ stage: { homeRegion, relayRegions, relay, edge } }: LookedAt): Names[] {
  const regions = [homeRegion, ...relayRegions];
  const relayNames = (
    at: string,
    { hostName, hostedZone }: { hostName?: string; hostedZone?: HostedZoneSettings } = {},
  ) =>
    hostedZone && hostName !== undefined ? [{ at, zone: hostedZone, names: [hostName], regions, byRegion: true }] : [];
  return [
    ...relayNames('relay.hostedZone', relay),
    ...relayNames('relay.publicAccess.hostedZone', relay.publicAccess),
    ...(edge?.hostedZone
      ? [
          {
            at: 'edge.hostedZone',
            zone: edge.hostedZone,
            names: edge.domainNames ?? [],
            regions: [REGION],
            byRegion: false,
          },
        ]
      : []),
  ];
}

function describedCheck({ at, zone }: Names, answer: Xml): Check[] {
  const { id, name } = zone;
  const there = textAt(answer, 'HostedZone', 'Name').replace(/\.$/, '');
  if (there !== name) {
    return [
      bad('hosted-zone', id, `${at}: the hosted zone ${id} is that of ${there}, not of ${name}`, 'correct id or name'),
    ];
  }
  const isPrivate = textAt(answer, 'HostedZone', 'Config', 'PrivateZone') === 'true';
  if (isPrivate !== certifies(zone)) return [];
  return [
    bad(
      'hosted-zone',
      id,
      `${at}: the hosted zone ${id} is ${isPrivate ? 'private' : 'public'}`,
      isPrivate ? 'set private: true, and give certificates: ACM cannot validate names in it' : 'leave private out',
    ),
  ];
}

/** Route 53 refuses a record beside one of another routing policy, and a second one of the same region. */
async function recordChecks(looked: LookedAt, one: Names, name: string): Promise<Check[]> {
  const { aws, owned } = looked;
  const isOurs = (id: string) =>
    one.regions.some((region) => owned.has(ownedName(region, 'AWS::Route53::RecordSet', id)));
  if (isOurs(name) || isOurs(`${name}.`)) return [];
  const { id } = one.zone;
  const query = new URLSearchParams({ maxitems: '20', name });
  const answer = parseXml(await aws.get('route53', REGION, `/2013-04-01/hostedzone/${id}/rrset?${query}`));
  const taken = listAt(answer, 'ResourceRecordSets', 'ResourceRecordSet').find((record) => {
    const region = textAt(record, 'Region');
    // Route 53 writes a wildcard as \052.
    const isThis = textAt(record, 'Name').replace('\\052', '*') === `${name}.`;
    const isAddress = ['A', 'AAAA', 'CNAME'].includes(textAt(record, 'Type'));
    return isThis && isAddress && !(one.byRegion && region !== '' && !one.regions.includes(region));
  });
  if (taken === undefined) return [];
  const what = `${one.at}: ${name} already has a record of type ${textAt(taken, 'Type')}`;
  if (mayOwn(looked, ...one.regions)) return [ownerUnknown('hosted-zone', name, what)];
  return [
    bad(
      'hosted-zone',
      name,
      `${what}, which no stack of the stage owns`,
      `delete that record first: clients cannot resolve the name until the deployment has made it again`,
    ),
  ];
}
