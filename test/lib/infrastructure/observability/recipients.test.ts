/** Who is told of alarms, in each region that has some. */
import { describeUntold } from '../../../../lib/infrastructure/observability/recipients.ts';
import type { AlarmSettings } from '../../../../lib/infrastructure/stage-settings.ts';
import { parseStage } from '../../../../lib/infrastructure/stages.ts';
import { full } from '../../../support/synthesise.ts';

const topic = (region: string, name = 'ops') => `arn:aws:sns:${region}:123456789012:${name}`;
/** Of the stage `full`: home, replicas and us-east-1; all of them page, since edge functions run there. */
const regions = ['eu-west-1', 'us-east-1', 'ap-northeast-1', 'us-west-2'];
const stageWith = (alarms: AlarmSettings, settings: object = {}) =>
  parseStage('full', { full: { ...full, ...settings, alarms } });
const untold = (alarms: AlarmSettings, settings?: object) => describeUntold(stageWith(alarms, settings));

test.each<[string, AlarmSettings, string | undefined]>([
  ['nothing is set', {}, 'nobody is notified of alarms: set alarms.emails or alarms.topics'],
  ['there are addresses', { emails: ['a@example.com'] }, undefined],
  ['every region has a topic', { topics: regions.map((region) => topic(region)) }, undefined],
  [
    'two regions have no topic',
    { topics: ['eu-west-1', 'us-west-2'].map((region) => topic(region)) },
    'nobody is notified of alarms in us-east-1, ap-northeast-1: set alarms.emails or alarms.topics',
  ],
  [
    'nobody is to be paged',
    { emails: ['a@example.com'], pageEmails: [] },
    'nobody is paged: set alarms.pageEmails or alarms.pageTopics',
  ],
  [
    'pages go to a topic of one region',
    { emails: ['a@example.com'], pageEmails: [], pageTopics: [topic('eu-west-1')] },
    'nobody is paged in us-west-2, us-east-1, ap-northeast-1: set alarms.pageEmails or alarms.pageTopics',
  ],
])('if %s, it is said who is not told', (_, alarms, expected) => {
  expect(untold(alarms)).toBe(expected);
});

test('regions that only have a replica need nobody to page', () => {
  const pageTopics = ['eu-west-1', 'us-west-2'].map((region) => topic(region));
  expect(untold({ emails: ['a@example.com'], pageEmails: [], pageTopics }, { edge: undefined })).toBeUndefined();
});

test.each<[string, AlarmSettings, string]>([
  [
    'a region without alarms',
    { topics: [topic('eu-central-1')] },
    'is invalid: expected a topic in a region whose alarms',
  ],
  [
    'more topics than an alarm notifies',
    { topics: ['a', 'b', 'c', 'd', 'e'].map((name) => topic('eu-west-1', name)) },
    'alarms.topics has more than 4 topics in eu-west-1',
  ],
])('topics of %s are refused', (_, alarms, message) => {
  expect(() => stageWith(alarms)).toThrow(message);
});
