import { certifies } from '../../lib/infrastructure/hosted-zone.ts';
import type { HostedZoneSettings } from '../../lib/infrastructure/stage-settings.ts';
import { explainAwsError } from '../aws/explain.ts';
import { isStackOf } from '../aws/left-stacks.ts';
import { ownerOf } from '../aws/stacks.ts';
import { listAt, textAt, type Xml } from '../aws/xml.ts';
import { bad, type Check, good, inTurns, unknown } from '../checks/check.ts';
import { type LookedAt, mayOwn, ownerUnknown } from './looked-at.ts';

/** A zone as one part of the stage describes it. */
interface Described {
  readonly at: string;
  readonly zone: HostedZoneSettings;
}

/** One zone, however the parts of the stage describe it. */
interface Wanted {
  readonly id: string;
  readonly descriptions: readonly [Described, ...Described[]];
}

/** A record that the next deployment makes. */
interface NewRecord {
  readonly name: string;
  readonly type: string;
  /** Of a latency record; else ''. */
  readonly region: string;
  readonly setIdentifier: string;
  /** Where its stack is. */
  readonly stackRegion: string;
}

/** The hosted zones exist as the stage file describes them, and the records that the deployment makes in them are not in anybody's way. */
export async function zoneChecks(looked: LookedAt): Promise<Check[]> {
  const { aws, stage } = looked;
  return inTurns(
    zonesOf(stage),
    async ({ id, descriptions }) => {
      const answer = await aws.getXml(
        'route53',
        stage.homeRegion,
        `/2013-04-01/hostedzone/${id}`,
        'GetHostedZoneResponse',
      );
      const checks = descriptions.flatMap((one) => describedCheck(one, answer));
      if (checks.length === descriptions.length) return checks;
      for (const record of newRecordsIn(looked, id)) checks.push(...(await recordChecks(looked, descriptions, record)));
      if (checks.length > 0) return checks;
      return [good('hosted-zone', id, `the names in the hosted zone ${descriptions[0].zone.name} can be made`)];
    },
    ({ id, descriptions }, error) =>
      (error as Error).name === 'NoSuchHostedZone'
        ? bad(
            'hosted-zone',
            id,
            `${descriptions[0].at}: the hosted zone ${id} does not exist in this account`,
            'correct id in the stage file',
          )
        : unknown('hosted-zone', id, `cannot read the hosted zone ${id}`, explainAwsError(error, stage.homeRegion)),
  );
}

/** Each zone once, and each description of it once, however many parts of the stage have names in it. */
function zonesOf({ relay, edge }: LookedAt['stage']): Wanted[] {
  const all: [string, HostedZoneSettings | undefined][] = [
    ['relay.hostedZone', relay.hostedZone],
    ['relay.publicAccess.hostedZone', relay.publicAccess?.hostedZone],
    ['edge.hostedZone', edge?.hostedZone],
  ];
  const same = (a: HostedZoneSettings, b: HostedZoneSettings) => a.name === b.name && certifies(a) === certifies(b);
  const zones = new Map<string, [Described, ...Described[]]>();
  for (const [at, zone] of all) {
    if (zone === undefined) continue;
    const known = zones.get(zone.id);
    if (known === undefined) zones.set(zone.id, [{ at, zone }]);
    else if (!known.some((one) => same(one.zone, zone))) known.push({ at, zone });
  }
  return [...zones].map(([id, descriptions]) => ({ id, descriptions }));
}

function newRecordsIn({ wanted, resources }: LookedAt, zoneId: string): NewRecord[] {
  return wanted.flatMap(({ stackName, region: stackRegion, template }) => {
    const made = new Set(resources.get(stackName)?.map(({ logicalId }) => logicalId));
    return Object.entries(template.Resources ?? {}).flatMap(([logicalId, { Type, Properties }]) => {
      const of = (property: string) => String((Properties as Record<string, unknown> | undefined)?.[property] ?? '');
      if (Type !== 'AWS::Route53::RecordSet' || of('HostedZoneId') !== zoneId || made.has(logicalId)) return [];
      const name = of('Name').replace(/\.$/, '');
      return [{ name, type: of('Type'), region: of('Region'), setIdentifier: of('SetIdentifier'), stackRegion }];
    });
  });
}

function describedCheck({ at, zone }: Described, answer: Xml): Check[] {
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

/** The property whose zone the name is in: parts of a stage may share a zone. */
function propertyOf({ relay, edge }: LookedAt['stage'], name: string): string | undefined {
  if (name === relay.hostName) return 'relay.hostedZone';
  if (name === relay.publicAccess?.hostName) return 'relay.publicAccess.hostedZone';
  return edge?.domainNames?.includes(name) ? 'edge.hostedZone' : undefined;
}

async function recordChecks(
  looked: LookedAt,
  [{ at: first, zone }]: Wanted['descriptions'],
  record: NewRecord,
): Promise<Check[]> {
  const { name, stackRegion } = record;
  const at = propertyOf(looked.stage, name) ?? first;
  const taken = (await recordsOf(looked, zone.id, name)).find((there) => excludes(there, record));
  if (taken === undefined) return [];
  const target =
    textAt(taken, 'AliasTarget', 'DNSName') || textAt(listAt(taken, 'ResourceRecords', 'ResourceRecord')[0], 'Value');
  const what = `${at}: ${name} already has a record of type ${textAt(taken, 'Type')}${target && ` (${target})`}`;
  if (mayOwn(looked, stackRegion)) return [ownerUnknown('hosted-zone', name, what)];
  return [await takenCheck(looked, { name, what, regions: [stackRegion, textAt(taken, 'Region')] })];
}

/** All records of a name: a listing begins at it and goes on to the next names. */
async function recordsOf({ aws, stage }: LookedAt, zoneId: string, name: string): Promise<Xml[]> {
  const found: Xml[] = [];
  let from: Record<string, string> = { name };
  // A name has at most 100 records of a routing policy for each type.
  for (let page = 0; page < 10; page += 1) {
    const query = new URLSearchParams({ maxitems: '100', ...from });
    const path = `/2013-04-01/hostedzone/${zoneId}/rrset?${query}`;
    const answer = await aws.getXml('route53', stage.homeRegion, path, 'ListResourceRecordSetsResponse');
    const all = listAt(answer, 'ResourceRecordSets', 'ResourceRecordSet');
    const these = all.filter((one) => isNamed(textAt(one, 'Name'), name));
    found.push(...these);
    if (textAt(answer, 'IsTruncated') !== 'true' || !isNamed(textAt(answer, 'NextRecordName'), name)) return found;
    const identifier = textAt(answer, 'NextRecordIdentifier');
    from = { name, type: textAt(answer, 'NextRecordType'), ...(identifier !== '' && { identifier }) };
  }
  return found;
}

/** Route 53 writes a wildcard as \052. */
function isNamed(text: string, name: string): boolean {
  return text.replace('\\052', '*') === `${name}.`;
}

/**
 * Whether Route 53 refuses the new record beside one of the same name. Route 53: "Supported DNS record types" (nothing may be beside a
 * CNAME) and "Values that are common for latency records" (one record of a region, and no other routing policy beside them).
 */
function excludes(there: Xml, { type, region, setIdentifier }: NewRecord): boolean {
  const theirs = textAt(there, 'Type');
  if (theirs === 'CNAME' || type === 'CNAME') return true;
  if (theirs !== type) return false;
  const theirRegion = textAt(there, 'Region');
  if (theirRegion === '' || region === '') return true;
  return theirRegion === region || textAt(there, 'SetIdentifier') === setIdentifier;
}

interface Taken {
  readonly name: string;
  readonly what: string;
  /** Where the stack may be that made it. */
  readonly regions: readonly string[];
}

async function takenCheck({ aws, stage, wanted }: LookedAt, { name, what, regions }: Taken): Promise<Check> {
  const ours = new Set(wanted.map(({ stackName }) => stackName));
  const why = 'the deployment cannot create its own';
  for (const region of new Set([...regions, stage.homeRegion])) {
    if (region === '') continue;
    for (const id of [name, `${name}.`]) {
      let owner: string | undefined;
      try {
        owner = await ownerOf(aws, region, id);
      } catch (error) {
        const advice = `find out what owns it before you delete it: ${explainAwsError(error, region)}`;
        return bad('hosted-zone', name, `${what}: ${why}`, advice);
      }
      // Its records of the name are others.
      if (owner === undefined || ours.has(owner)) continue;
      const advice = isStackOf(stage.name, owner)
        ? 'take away that stack first, by "Taking parts away" in docs/deploying.md'
        : 'choose another name in the stage file, or take the record out of that stack first';
      return bad('hosted-zone', name, `${what}, and the stack ${owner} in ${region} owns it: ${why}`, advice);
    }
  }
  const advice =
    'delete that record first, or choose another name: clients cannot resolve the name until the deployment has made it again';
  return bad('hosted-zone', name, `${what}, which no stack of the stage owns: ${why}`, advice);
}
