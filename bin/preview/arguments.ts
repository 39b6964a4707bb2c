import { MOST_PREVIEW_HOURS, PREVIEW_HOURS } from '../../lambda/edge-router/preview-token.ts';
import { commandText } from '../../lib/command-text.ts';
import { durationFrom } from '../../relay-task/common/setting-values.ts';
import { describeUnknown } from '../cli/usage.ts';

export type PreviewCommand =
  | { readonly verb: 'new-key'; readonly file: string }
  | {
      readonly verb: 'link';
      readonly stage: string;
      /** Values by flag key. */
      readonly flags: Readonly<Record<string, unknown>>;
      /** The site's address, without a path. */
      readonly site: URL;
      /** A path of the site. */
      readonly to: string;
      /** The file of the private key; `-`: standard input. */
      readonly key: string;
      readonly forMs: number;
    };

export const usage = `Makes links by which testers see values of flags of their choice.

  ${commandText('preview', 'new-key <file>')}
  ${commandText('preview', 'link <stage> <flag>=<value>... --site <address> --key <file> [--for 2h] [--to /path]')}

new-key writes a new private key to <file>, and prints the public key for edge.preview.publicKeys of the stage file.
link prints a link. A browser that opens it gets these values; <value> is read as JSON if it is valid JSON, otherwise as text.

  --site <address>  of the site, such as https://shop.example.com: the link works there alone
  --key <file>      the private key; - reads it from standard input
  --for <duration>  how long the link, and what it switches on, are valid; above ${PREVIEW_HOURS}h, edge.preview.maxHours must allow it; default: ${PREVIEW_HOURS}h
  --to <path>       the page that the link leads to; default: /

To end a preview earlier, open /__flag-preview?off on the site. To make all links of a key invalid, remove its public key.

Exit codes: 0 success, 1 failure, 2 usage error.
`;

const withValue = ['--site', '--key', '--for', '--to'];

/** Returns the command, or all problems. */
export function parseArguments(
  args: readonly string[],
): PreviewCommand | 'help' | { readonly problems: readonly string[] } {
  const problems: string[] = [];
  const options = new Map<string, string>();
  const words: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] ?? '';
    const [name = '', inline] = /^(--[^=]+)=(.*)$/s.exec(argument)?.slice(1) ?? [argument];
    if (name === '--help' || name === '-h') return 'help';
    if (!name.startsWith('--')) words.push(argument);
    else if (withValue.includes(name)) {
      const value = inline ?? args[++index];
      if (value) options.set(name, value);
      else problems.push(`${name} needs a value`);
    } else problems.push(describeUnknown('option', name, [...withValue, '--help']));
  }
  const [verb, ...rest] = words;
  if (verb === undefined) return problems.length > 0 ? { problems } : 'help';
  if (verb === 'new-key') {
    const [file, more] = rest;
    if (file === undefined || more !== undefined)
      problems.push('new-key needs one argument: the file of the new private key');
    for (const name of options.keys()) problems.push(`${name} does not apply to new-key`);
    return problems.length > 0 || file === undefined ? { problems } : { verb, file };
  }
  if (verb !== 'link') return { problems: [describeUnknown('command', verb, ['new-key', 'link'])] };
  return parseLink(rest, options, problems);
}

function parseLink(
  [stage = '', ...pairs]: readonly string[],
  options: ReadonlyMap<string, string>,
  problems: string[],
): PreviewCommand | { readonly problems: readonly string[] } {
  if (!/^[\w-]+$/.test(stage)) problems.push('link needs a stage and one or more <flag>=<value>');
  const flags: Record<string, unknown> = {};
  for (const pair of pairs) {
    const [, flagKey, value] = /^([\w.-]{1,256})=(.*)$/s.exec(pair) ?? [];
    if (flagKey === undefined) problems.push(`${pair} is invalid: expected <flag>=<value>`);
    else flags[flagKey] = jsonOrText(value ?? '');
  }
  if (pairs.length === 0) problems.push('No flag given: add <flag>=<value>');
  const site = siteOf(options.get('--site'));
  if (!site)
    problems.push('--site is required: the address of the site without a path, such as https://shop.example.com');
  const key = options.get('--key');
  if (key === undefined) problems.push('--key is required: the file of the private key, or -');
  const to = options.get('--to') ?? '/';
  if (!/^\/(?!\/)[!-[\]-~]*$/.test(to))
    problems.push(`--to ${to} is invalid: expected a path of the site, such as /checkout`);
  const duration = durationFrom(60_000, '1m')(options.get('--for') ?? `${PREVIEW_HOURS}h`);
  if (!('value' in duration)) problems.push(`--for must be ${duration.wanted}`);
  else if (duration.value > MOST_PREVIEW_HOURS * 3_600_000)
    problems.push(`--for must be at most ${MOST_PREVIEW_HOURS}h: no site accepts longer`);
  if (problems.length > 0 || !site || key === undefined || !('value' in duration)) return { problems };
  return { verb: 'link', stage, flags, site, to, key, forMs: duration.value };
}

function jsonOrText(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function siteOf(address = ''): URL | undefined {
  if (!URL.canParse(address)) return undefined;
  const url = new URL(address);
  return /^https?:$/.test(url.protocol) && url.pathname === '/' && !url.search && !url.username ? url : undefined;
}
