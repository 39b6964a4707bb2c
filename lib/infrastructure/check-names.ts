/** Checks a stage's names in hosted zones, against each other and against what Route 53, ACM and Cloud Map accept. */
import { certifies, isInZone } from './hosted-zone.ts';
import type { Stage } from './stage.ts';
import type { Problems } from './stage-readers.ts';
import type { HostedZoneSettings } from './stage-settings.ts';

/** What gets records: `property` names it below `at`. */
interface Named {
  readonly at: string;
  readonly property: 'hostName' | 'domainNames';
  readonly names: readonly string[];
  readonly hostedZone: HostedZoneSettings | undefined;
  /** Whether a certificate for the names is made. */
  readonly certified: boolean;
}

/** ACM, RequestCertificate: the first name of a certificate, without its other ones. */
const LONGEST_CERTIFIED = 64;

export function checkNames(stage: Stage, problems: Problems): void {
  const all = namesOf(stage);
  for (const one of all) checkZone(one, problems);
  for (const [index, one] of all.entries()) checkTaken(one, all.slice(0, index), problems);
  for (const { at, property, names, certified } of all) {
    const [first = ''] = names;
    if (certified && first.length > LONGEST_CERTIFIED) {
      const wanted = `a name of at most ${LONGEST_CERTIFIED} characters, since ACM makes no certificate for a longer one, or a certificate of yours`;
      problems.mustBe(`${at}.${property}`, first, wanted);
    }
  }
  checkNamespace(stage, all, problems);
  checkPublicCertificate(stage, problems);
}

function namesOf({ relay, edge, homeRegion, relayRegions }: Stage): Named[] {
  const listed = (name: string | undefined) => (name === undefined ? [] : [name]);
  const makes = (hostedZone: HostedZoneSettings | undefined, certificates: Readonly<Record<string, string>>): boolean =>
    certifies(hostedZone) && [homeRegion, ...relayRegions].some((region) => certificates[region] === undefined);
  const balancer = (
    at: string,
    { hostName, hostedZone, certificates }: Pick<Stage['relay'], BalancerNames>,
  ): Named => ({
    ...{ at, property: 'hostName', names: listed(hostName), hostedZone },
    certified: makes(hostedZone, certificates),
  });
  return [
    balancer('relay', relay),
    ...(relay.publicAccess ? [balancer('relay.publicAccess', relay.publicAccess)] : []),
    ...(edge ? [siteOf(edge)] : []),
  ];
}

type BalancerNames = 'hostName' | 'hostedZone' | 'certificates';

function siteOf({ domainNames = [], hostedZone, certificateArn }: NonNullable<Stage['edge']>): Named {
  const certified = certifies(hostedZone) && certificateArn === undefined;
  return { ...{ at: 'edge', property: 'domainNames' }, names: domainNames, hostedZone, certified };
}

function checkZone({ at, property, names, hostedZone }: Named, problems: Problems): void {
  if (!hostedZone) return;
  if (names.length === 0) {
    problems.say(`${at}.${property}`, `${at}.${property} is missing: ${at}.hostedZone has no use without it`);
  }
  const outside = names.filter((name) => !isInZone(name, hostedZone));
  if (outside.length > 0) {
    problems.mustBe(`${at}.hostedZone.name`, hostedZone.name, `a zone that contains ${outside.join(', ')}`);
  }
}

/** Route 53 refuses a second record of a name, unless both are latency records of one service. */
function checkTaken({ at, property, names, hostedZone }: Named, others: readonly Named[], problems: Problems): void {
  if (!hostedZone) return;
  for (const other of others.filter((one) => one.hostedZone?.id === hostedZone.id)) {
    const name = names.find((one) => other.names.includes(one));
    if (name === undefined) continue;
    const wanted = `another name than ${other.at}.${other.property} in the same zone`;
    problems.mustBe(`${at}.${property}`, name, wanted);
  }
}

/** Cloud Map makes a private zone for the VPC, which cannot have two of one name. */
function checkNamespace({ relay: { prometheus } }: Stage, all: readonly Named[], problems: Problems): void {
  const namespace = prometheus?.namespace;
  const same = all.find(({ hostedZone }) => hostedZone?.private && hostedZone.name === namespace);
  if (namespace === undefined || !same) return;
  const wanted = `another name than that of the private zone ${same.at}.hostedZone, since a VPC cannot have two zones of one name`;
  problems.mustBe('relay.prometheus.namespace', namespace, wanted);
}

/** The certificate that is made for the internal name does not contain the public one. */
function checkPublicCertificate({ relay, homeRegion, relayRegions }: Stage, problems: Problems): void {
  const { publicAccess, hostedZone, hostName, certificates } = relay;
  if (!publicAccess || certifies(publicAccess.hostedZone) || !certifies(hostedZone)) return;
  const without = [homeRegion, ...relayRegions].filter(
    (region) => certificates[region] === undefined && publicAccess.certificates[region] === undefined,
  );
  if (without.length === 0) return;
  const at = 'relay.publicAccess.certificates';
  const why = `the one that is made for relay.hostName only has the name ${hostName}`;
  const advice = 'give certificates, or hostName and hostedZone of relay.publicAccess';
  problems.say(at, `${at} has no certificate for ${without.join(', ')}, and ${why}: ${advice}`);
}
