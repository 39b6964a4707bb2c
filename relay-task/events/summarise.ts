/**
 * Turns the events of PHP and old SDKs, one per evaluation, into what LaunchDarkly expects: counts, each context once,
 * and full events only where the flag requires them.
 */
import { canonicalKey, parseContext } from '../../lib/evaluation/index.ts';
import type { Item } from '../../lib/flag-table/index.ts';
import { hasInfinity, isCount } from '../common/json.ts';
import { membersOf } from '../common/json-text.ts';
import type { IncomingEvent } from './incoming.ts';
import type { Recent } from './recent.ts';
import type { Summary } from './summary.ts';
import { type Fields, numberIn, trackingOf } from './tracking.ts';

interface SummariseOptions {
  readonly schema: number;
  readonly summary: Summary;
  /** Whose events they are. */
  readonly sender: string;
  /** Contexts described recently, by canonical key. */
  readonly seen: Pick<Recent, 'add'>;
  readonly flag: (key: string) => Item | undefined;
  /** LaunchDarkly's clock in its last response, Unix ms. */
  readonly serverTime: number;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly dropped: (reason: 'malformed' | 'capacity' | 'memory', events: number) => void;
}

/** A parsed event. */
interface Parts {
  readonly fields: Fields;
  /** The JSON texts of its members. */
  readonly texts: ReadonlyMap<string, string>;
  /** The JSON text of the context, as received. */
  readonly context: string;
  readonly contextKinds: readonly string[];
  readonly creationDate: number;
}

/** Returns the JSON texts of the events to send; counts evaluations in the summary. */
export function summarise(events: readonly IncomingEvent[], options: SummariseOptions): string[] {
  return events.flatMap((event) => {
    const { kind } = event.fields;
    if (typeof kind !== 'string' || kind === '' || hasInfinity(event.fields)) return malformed(options);
    if (kind !== 'feature' && kind !== 'custom' && kind !== 'identify') return [event.text];
    const parts = takeApart(event);
    if (!parts || (kind !== 'identify' && typeof event.fields.key !== 'string')) return malformed(options);
    if (kind === 'feature' && !(isIndex(event.fields.version) && isIndex(event.fields.variation)))
      return malformed(options);
    const isNew = options.seen.add(parts.contextKey);
    const isWanted = () => sampled(numberIn(event.fields, 'samplingRatio'), options);
    if (kind === 'identify') return isWanted() ? [identifyEvent(parts)] : [];
    const index = isNew ? [`{"kind":"index",${stamp(parts)},"context":${parts.context}}`] : [];
    if (kind === 'feature') return [...index, ...evaluated(parts, options)];
    return isWanted() ? [...index, customEvent(parts)] : index;
  });
}

/** The latest valid time, Unix ms. */
const LAST_DATE = 8.64e15;

/** What SDKs send as version and variation: a whole number, or none. Anything else might cost the summary that it is counted in. */
function isIndex(value: unknown): boolean {
  return !isPresent(value) || isCount(value);
}

function malformed(options: SummariseOptions): [] {
  options.dropped('malformed', 1);
  return [];
}

function takeApart({ fields, text }: IncomingEvent): (Parts & { readonly contextKey: string }) | undefined {
  const name = fields.context !== undefined && fields.context !== null ? 'context' : 'user';
  const context = parseContext(fields[name]);
  // SDKs send whole milliseconds; a fraction does no harm.
  const creationDate = Math.trunc(numberIn(fields, 'creationDate') ?? Date.now());
  if (!context || creationDate < 0 || creationDate > LAST_DATE) return undefined;
  const texts = membersOf(text);
  return {
    fields,
    texts,
    context: texts.get(name) as string,
    contextKinds: context.kinds,
    contextKey: canonicalKey(context),
    creationDate,
  };
}

/** Counts an evaluation and returns the full events to send for it. */
function evaluated(parts: Parts, options: SummariseOptions): string[] {
  const { fields, texts } = parts;
  const version = numberIn(fields, 'version');
  const speaksForItself = isPresent(fields.trackEvents) || isPresent(fields.debugEventsUntilDate);
  const flag = version === undefined || speaksForItself ? undefined : trackingOf(options.flag(fields.key as string));
  const variation =
    numberIn(fields, 'variation') ?? (options.schema === 1 ? flag?.variationOf(fields.value) : undefined);
  const isTracked = speaksForItself
    ? fields.trackEvents === true
    : flag !== undefined && (flag.trackEvents || flag.isExperiment(fields.reason));
  const debugUntil = numberIn(fields, 'debugEventsUntilDate') ?? flag?.debugEventsUntilDate ?? 0;

  if (!(fields.excludeFromSummaries ?? flag?.excludeFromSummaries)) {
    const counted = options.summary.add(
      {
        flagKey: fields.key as string,
        version,
        variation,
        value: texts.get('value'),
        fallback: texts.get('default'),
        contextKinds: parts.contextKinds,
        creationDate: parts.creationDate,
      },
      options.sender,
    );
    if (counted !== 'counted') options.dropped(counted, 1);
  }
  const ratio = numberIn(fields, 'samplingRatio') ?? flag?.samplingRatio;
  const whole: string[] = [];
  if (isTracked && sampled(ratio, options)) whole.push(featureEvent('feature', parts, variation, ratio));
  // The later clock decides: the relay's may be slow.
  const isDebugged = debugUntil > Math.max(Date.now(), options.serverTime);
  if (isDebugged && sampled(ratio, options)) whole.push(featureEvent('debug', parts, variation, ratio));
  return whole;
}

function featureEvent(kind: string, parts: Parts, variation: number | undefined, ratio: number | undefined): string {
  const { context, texts } = parts;
  const choice = variation === undefined ? '' : `,"variation":${variation}`;
  const answer = ['value', 'default'].map((name) => (texts.has(name) ? `,"${name}":${texts.get(name)}` : '')).join('');
  const rest = members(texts, 'version', 'reason', 'prereqOf');
  return `{"kind":"${kind}",${stamp(parts)},"context":${context},"key":${texts.get('key')}${answer}${sampling(ratio)}${choice}${rest}}`;
}

function customEvent(parts: Parts): string {
  const { context, texts, fields } = parts;
  const rest = sampling(numberIn(fields, 'samplingRatio')) + members(texts, 'data', 'metricValue', 'url');
  return `{"kind":"custom",${stamp(parts)},"key":${texts.get('key')},"context":${context}${rest}}`;
}

function identifyEvent(parts: Parts): string {
  const { context, fields } = parts;
  return `{"kind":"identify",${stamp(parts)},"context":${context}${sampling(numberIn(fields, 'samplingRatio'))}}`;
}

function sampling(ratio: number | undefined): string {
  return ratio === undefined || ratio === 1 ? '' : `,"samplingRatio":${ratio}`;
}

function stamp({ creationDate }: Parts): string {
  return `"creationDate":${creationDate}`;
}

/** The members that are present and not null, as received. */
function members(texts: ReadonlyMap<string, string>, ...names: string[]): string {
  const present = names.filter((name) => texts.has(name) && texts.get(name) !== 'null');
  return present.map((name) => `,"${name}":${texts.get(name)}`).join('');
}

/** True for one in `ratio` events; never for 0 and below. */
function sampled(ratio: number | undefined, { random }: SummariseOptions): boolean {
  const whole = Math.trunc(ratio ?? 1);
  return whole === 1 || (whole > 1 && Math.floor(random() * whole) === 0);
}

function isPresent(value: unknown): boolean {
  return value !== undefined && value !== null;
}
