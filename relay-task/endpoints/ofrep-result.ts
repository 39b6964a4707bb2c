/**
 * Answers about flags in OFREP's shape (`evaluationSuccess` and `evaluationFailure` of its OpenAPI, version 0.3), with the
 * variants and reasons that LaunchDarkly's OpenFeature providers give: the variation's index as text, and LaunchDarkly's reason.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Reason } from '../../lib/evaluation/index.ts';
import type { Item } from '../../lib/flag-table/index.ts';
import { membersOf } from '../common/json-text.ts';
import { createKept, type Kept, Place } from '../common/kept.ts';
import type { EvaluatedFlag, ItemView, ValueText } from '../ports.ts';

interface OpenFeatureResult {
  readonly failed: boolean;
  /** One `evaluationSuccess` or `evaluationFailure`. */
  readonly json: string;
}

/**
 * `launchdarkly`: LaunchDarkly's own reasons, as its providers give them. `standard`: only those that OFREP's OpenAPI lists,
 * with LaunchDarkly's in the metadata.
 */
export type Reasons = 'launchdarkly' | 'standard';

/**
 * A client requests standard reasons with `Prefer: reasons=standard` (RFC 7240). OpenFeature's Python provider always gets
 * them: it only knows an enumeration of reasons, and returns the caller's default for any other.
 */
export function reasonsFor({ prefer = '', 'user-agent': userAgent = '' }: IncomingHttpHeaders): Reasons {
  const isAskedFor = /(?:^|,)\s*reasons="?standard"?\s*(?:[,;]|$)/i.test(String(prefer));
  return isAskedFor || userAgent.startsWith('python-requests/') ? 'standard' : 'launchdarkly';
}

/** One, or what follows a long value, which other answers have too. */
interface Converted {
  readonly failed: boolean;
  /** Undefined: the value is long. */
  readonly json: string | undefined;
  readonly rest: string;
}

/** In characters. */
const SHORT = 128;

/**
 * Equal answers of one state of a flag are one object, so each is converted once, and each value once for all of them. `view` holds that
 * state.
 */
export function createOpenFeatureResults(kept: Kept = createKept()) {
  const places = { launchdarkly: new WeakMap(), standard: new WeakMap() } satisfies Record<
    Reasons,
    WeakMap<EvaluatedFlag, Place<Converted>>
  >;
  const values = new WeakMap<ValueText, string>();
  const decimals = new WeakMap<Item, boolean>();

  /** Whether a variation of the flag is a number with a fraction, so that its whole numbers are decimals too. */
  function isDecimal(item: Item | undefined): boolean {
    if (!item) return false;
    const known = decimals.get(item);
    if (known !== undefined) return known;
    const variations: unknown = JSON.parse(membersOf(item.json).get('variations') ?? '[]');
    const found = Array.isArray(variations) && variations.some((one) => typeof one === 'number' && one % 1 !== 0);
    decimals.set(item, found);
    return found;
  }

  function converted(flag: EvaluatedFlag, reasons: Reasons, view: ItemView): Converted {
    const ofReasons: WeakMap<EvaluatedFlag, Place<Converted>> = places[reasons];
    let place = ofReasons.get(flag);
    if (place?.value) return place.value;
    if (place === undefined) {
      place = new Place();
      ofReasons.set(flag, place);
    }
    const { failed, rest } = convert(flag, reasons);
    const isWhole = failed || flag.value.json.length <= SHORT;
    const made = isWhole
      ? { failed, json: whole(flag, failed, rest, view), rest: '' }
      : { failed, json: undefined, rest };
    kept.keep(place, made, Buffer.byteLength(made.json ?? made.rest));
    return made;
  }

  const whole = (flag: EvaluatedFlag, failed: boolean, rest: string, view: ItemView) =>
    `{"key":${JSON.stringify(flag.key)},${failed ? '' : memberOf(flag, view)}${rest}`;

  /** The member with the value and the comma behind it. Without one the caller's default applies, which is also what SDKs return for null. */
  function memberOf({ key, value }: EvaluatedFlag, view: ItemView): string {
    let text = values.get(value);
    if (text === undefined) {
      text = toJson(value.json, () => isDecimal(view.get('features', key)));
      values.set(value, text);
    }
    return text === 'null' ? '' : `"value":${text},`;
  }

  return (flag: EvaluatedFlag, reasons: Reasons, view: ItemView): OpenFeatureResult => {
    const { failed, json, rest } = converted(flag, reasons, view);
    return { failed, json: json ?? whole(flag, failed, rest, view) };
  };
}

function convert({ variation, version, reason }: EvaluatedFlag, reasons: Reasons): Omit<Converted, 'json'> {
  const { kind, ...details } = reason;
  const metadata = {
    // A string, as OpenFeature's telemetry conventions require.
    version: JSON.stringify(version),
    ...details,
    ...(reasons === 'standard' && { reasonKind: kind }),
  };
  if (reason.kind === 'ERROR') {
    // As in LaunchDarkly's providers.
    const errorCode = reason.errorKind === 'MALFORMED_FLAG' ? 'PARSE_ERROR' : 'GENERAL';
    const errorDetails = `the flag could not be evaluated: ${reason.errorKind}`;
    return { failed: true, rest: membersOnly({ errorCode, errorDetails, metadata }) };
  }
  const success = {
    reason: reasons === 'standard' ? standardReason(reason) : kind,
    ...(variation !== null && { variant: String(variation) }),
    metadata,
  };
  return { failed: false, rest: membersOnly(success) };
}

/** The JSON of an object, without its first brace. */
const membersOnly = (data: object) => JSON.stringify(data).slice(1);

/**
 * Whole numbers of a flag that also has fractions get one, `100.0`: providers in Java and Python tell integers from doubles by
 * the text, and refuse an integer for a double.
 */
function toJson(json: string, isDecimal: () => boolean): string {
  if (/^-?\d+$/.test(json)) return isDecimal() ? `${json}.0` : json;
  // Large values are kept as LaunchDarkly sent them.
  const text = JSON.stringify(JSON.parse(json));
  return text === json ? json : text;
}

/**
 * A fallthrough is UNKNOWN: its reason does not say whether it was a rollout to some contexts or to all, and STATIC would let
 * providers cache the value for every context.
 */
function standardReason({ kind, inExperiment }: Reason): 'TARGETING_MATCH' | 'SPLIT' | 'DISABLED' | 'UNKNOWN' {
  if (inExperiment) return 'SPLIT';
  switch (kind) {
    case 'OFF':
    case 'PREREQUISITE_FAILED':
      return 'DISABLED';
    case 'TARGET_MATCH':
    case 'RULE_MATCH':
      return 'TARGETING_MATCH';
    default:
      return 'UNKNOWN';
  }
}
