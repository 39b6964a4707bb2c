/** What `npm start` prints when everything is ready: at most a screen, made from the flags that are in use. */
import { commandText } from '../../lib/command-text.ts';
import { counted } from '../../relay-task/common/counted.ts';
import { painted } from '../checks/print.ts';
import { LOCAL_STAGE } from './edge.ts';
import type { LocalRouterSettings } from './edge-file.ts';
import type { KnownFlag, KnownFlags } from './known-flags.ts';
import { listed, type Routing } from './routing.ts';
import type { SampleContext } from './sample-contexts.ts';

export interface WelcomeOptions {
  readonly version: string;
  /** As the person at the terminal would write it; undefined: flags come from LaunchDarkly. */
  readonly flagsFile: string | undefined;
  readonly isCopy: boolean;
  readonly environment: string;
  readonly prefix: string;
  readonly table: string;
  readonly relayUrl: string;
  readonly dynamoDBUrl: string;
  readonly edgeUrl: string;
  readonly flags: KnownFlags;
  readonly routing: Routing;
  readonly router: LocalRouterSettings;
  /** The file of the rules, as the person at the terminal would write it. */
  readonly rulesFile: string | undefined;
  /** Whether these are the rules of the example. */
  readonly exampleRules: boolean;
  /** A user whom a rule or a target of the flag is about. */
  readonly sample: SampleContext | undefined;
  readonly colour: boolean;
}

export function welcome(options: WelcomeOptions): string {
  const { version, flagsFile, isCopy, environment, colour, flags, relayUrl, dynamoDBUrl, edgeUrl } = options;
  const paint = (one: Parameters<typeof painted>[0], text: string) => (colour ? painted(one, text) : text);
  const count = Object.keys(flags).length;
  const source = flagsFile === undefined ? `LaunchDarkly, environment ${environment}` : flagsFile;
  const copy = isCopy ? ', a copy of the example' : '';
  const keys = flagsFile === undefined ? 'your own keys' : 'sdk-local, mob-local; client-side ID local';
  const row = (name: string, url: string, says: string) =>
    `  ${paint('bold', name.padEnd(10))}${paint('cyan', url)}  ${paint('dim', says)}\n`;
  const trials = trialsOf(options);
  const widest = Math.max(...trials.map(([command]) => (command.length > MOST_BESIDE ? 0 : command.length)));
  const lines = trials.map(([command, says], index) => {
    const number = paint('dim', `${index + 1}.`);
    const beside = command.length <= MOST_BESIDE;
    const text = beside ? says : `\n     ${says}`;
    return `  ${number} ${paint('green', command)}${' '.repeat(beside ? widest - command.length + 2 : 0)}${paint('dim', text)}\n`;
  });
  return `
${paint('bold', 'edge-flag-relay')} ${version}: ${counted(count, 'flag')} from ${source}${copy}

${row('relay', relayUrl, keys)}${row('DynamoDB', dynamoDBUrl, `table ${options.table}, prefix ${options.prefix}`)}${row('edge', edgeUrl, decider(options))}
In another terminal:

${lines.join('')}
${editLine(options)}

Ctrl-C stops everything.
`;
}

/** A longer command has its explanation on the next line. */
const MOST_BESIDE = 52;

function decider({ routing, router, rulesFile = '' }: WelcomeOptions): string {
  if (router.flagKey === undefined) return `the rules of ${rulesFile} decide`;
  return `flag ${router.flagKey} sends viewers to ${listed(routing.origins)}`;
}

/** Commands with what they show. */
function trialsOf(options: WelcomeOptions): [command: string, says: string][] {
  const { flags, router, edgeUrl, isCopy, sample } = options;
  const { flagKey, rules = [], preview, shadow } = router;
  const asked = flagKey ?? rules[0]?.flagKey ?? Object.keys(flags)[0];
  const user = sample === undefined ? [] : [sample.key, ...Object.entries(sample.attributes).map(assignment)];
  const decides = flagKey ?? rules[0]?.flagKey;
  const value = flagKey === undefined ? Object.keys(rules[0]?.variations ?? {})[0] : otherValueOf(flags[flagKey]);
  return [
    [commandText('try', 'visit'), 'a viewer comes twice: the same origin'],
    [commandText('try', 'viewers'), 'where 100 viewers go'],
    ...(asked === undefined
      ? []
      : [[commandText('try', 'flag', asked, ...user), 'what an SDK answers, and why'] as [string, string]]),
    [commandText('try', 'stream'), 'what a server SDK receives'],
    [commandText('try', 'table'), 'the items in DynamoDB'],
    [commandText('try', 'received'), 'what CloudFront sends to an origin'],
    ...(options.exampleRules
      ? [[commandText('try', 'visit', '/search/shoes'), 'a rule: other path, more headers'] as [string, string]]
      : []),
    ...(isCopy ? [[commandText('try', 'change'), `changes ${flagKey ?? ''} in the copy`] as [string, string]] : []),
    ...(preview && decides !== undefined
      ? [
          [
            commandText('preview', 'link', LOCAL_STAGE, `${decides}=${value}`, '--site', edgeUrl, '--key', '<key>'),
            `a preview link for one browser; <key> is the file of ${commandText('preview', 'new-key', '<key>')}`,
          ] as [string, string],
        ]
      : []),
    ...(shadow
      ? [
          [
            `curl -s -H '${shadow.header}: <secret>' ${edgeUrl}/received`,
            'what an origin receives of shadow traffic: x-flag-shadow instead of the secret',
          ] as [string, string],
        ]
      : []),
  ];
}

/** As a shell reads it. */
function assignment([name, value]: readonly [string, string | number | boolean]): string {
  const text = `${name}=${value}`;
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function otherValueOf({ variations = [], offVariation }: KnownFlag = {}): string {
  const other = variations.find((_, index) => index !== (offVariation ?? 0));
  return String(other);
}

/** As it is written in the file. */
function fallthroughTo(variation: number, file: string): string {
  return /\.ya?ml$/i.test(file)
    ? `fallthrough: { variation: ${variation} }`
    : `"fallthrough": { "variation": ${variation} }`;
}

/** What to edit to see a change arrive, with the words of the flag in use. */
function editLine({ flagsFile, flags, router, routing }: WelcomeOptions): string {
  const { flagKey } = router;
  const flag = flagKey === undefined ? undefined : flags[flagKey];
  if (flagsFile === undefined) return `Change ${flagKey ?? 'a flag'} in LaunchDarkly to see it arrive.`;
  const { variations = [], offVariation } = flag ?? {};
  const target = variations.findIndex((value) => String(value) !== routing.defaultOrigin);
  const example =
    flag?.on === true && target >= 0 && target !== offVariation
      ? `For example, in ${flagKey}: ${fallthroughTo(target, flagsFile)}\nsends everyone whom no rule matches to ${String(variations[target])}. `
      : '';
  return `Edit ${flagsFile} to see a change arrive.\n${example}`.trimEnd();
}
