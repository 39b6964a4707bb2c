import { EDGE_REGION, edgeLogRegions } from '../regions.ts';
import type { Stage } from '../stage.ts';
import type { Problems } from '../stage-readers.ts';

/** The parts of a stage that decide where alarms are and who is told of them. */
export type Recipients = Pick<Stage, 'homeRegion' | 'replicaRegions' | 'relayRegions' | 'edge' | 'alarms'>;

/** CloudWatch: five actions per state of an alarm; one is the stage's own topic. */
const MAX_TOPICS = 4;

/** The regions with alarms: alarms must be in the region of their metrics, and topics in that of their alarms. */
export function alarmRegions({ homeRegion, replicaRegions, relayRegions, edge }: Omit<Recipients, 'alarms'>): string[] {
  const withEdge = edge ? [...edgeLogRegions({ homeRegion, replicaRegions, edge }), EDGE_REGION] : [];
  return [...new Set([homeRegion, ...replicaRegions, ...relayRegions, ...withEdge])];
}

/** Those in which an alarm may page: where relays or edge functions run. */
export function pagingRegions(stage: Omit<Recipients, 'alarms'>): string[] {
  const { homeRegion, relayRegions } = stage;
  const withEdge = stage.edge ? [...edgeLogRegions(stage), EDGE_REGION] : [];
  return [...new Set([homeRegion, ...relayRegions, ...withEdge])];
}

/** ARNs of the existing topics of one region. */
export function topicsIn(region: string, topics: readonly string[]): string[] {
  return topics.filter((arn) => arn.split(':')[3] === region);
}

/** What is wrong if an alarm of the stage notifies or pages nobody, as one sentence that says what to set; else undefined. */
export function describeUntold(stage: Recipients): string | undefined {
  const { emails, topics, pageEmails, pageTopics } = stage.alarms;
  const without = (regions: readonly string[], given: readonly string[]) =>
    regions.filter((region) => topicsIn(region, given).length === 0);
  const unheard = emails.length > 0 ? [] : without(alarmRegions(stage), topics);
  if (unheard.length > 0)
    return sentence('nobody is notified of alarms', unheard, topics, 'alarms.emails or alarms.topics');
  const unpaged = pageEmails.length > 0 ? [] : without(pagingRegions(stage), pageTopics);
  if (unpaged.length === 0) return undefined;
  return sentence('nobody is paged', unpaged, pageTopics, 'alarms.pageEmails or alarms.pageTopics');
}

function sentence(what: string, regions: readonly string[], given: readonly string[], settings: string): string {
  // Without any topic, every region lacks one.
  return given.length === 0 ? `${what}: set ${settings}` : `${what} in ${regions.join(', ')}: set ${settings}`;
}

/** Checks existing topics against the regions of the stage's alarms. */
export function checkRecipients(stage: Recipients, problems: Problems): void {
  for (const [name, regions] of [
    ['topics', alarmRegions(stage)],
    ['pageTopics', pagingRegions(stage)],
  ] as const) {
    const at = `alarms.${name}`;
    const given = stage.alarms[name];
    for (const arn of given) {
      const region = arn.split(':')[3] ?? '';
      if (topicsIn(region, given).length > MAX_TOPICS) {
        problems.say(at, `${at} has more than ${MAX_TOPICS} topics in ${region}: an alarm notifies no more`);
      } else if (!regions.includes(region)) {
        problems.mustBe(at, arn, `a topic in a region whose alarms can notify it: ${regions.join(', ')}`);
      }
    }
  }
}
