/**
 * Answers about flags in OFREP's shape (`evaluationSuccess` and `evaluationFailure` of its OpenAPI, version 0.3), with the
 * variants and reasons that LaunchDarkly's OpenFeature providers give: the variation's index as text, and LaunchDarkly's reason.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Reason } from '../../lib/evaluation/index.ts';
import type { Item } from '../../lib/flag-table/index.ts';
import { membersOf } from '../common/json-text.ts';
import type { EvaluatedFlag, ItemView } from '../ports.ts';

export interface OpenFeatureResult {
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

/** The value of a flag's key in an `evalx` answer with reasons. */
interface Evaluated {
  readonly value: unknown;
  readonly variation: number | null;
  readonly version: number;
  readonly reason: Reason;
}

/** Equal answers of one state of a flag are one object, so each is converted once. `view` holds that state. */
export function createOpenFeatureResults() {
  const made = { launchdarkly: new WeakMap(), standard: new WeakMap() } satisfies Record<
    Reasons,
    WeakMap<EvaluatedFlag, OpenFeatureResult>
  >;
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

  return (flag: EvaluatedFlag, reasons: Reasons, view: ItemView): OpenFeatureResult => {
    const known: OpenFeatureResult | undefined = made[reasons].get(flag);
    if (known) return known;
    const evaluated: Evaluated = JSON.parse(flag.json);
    const asDecimal = Number.isInteger(evaluated.value) && isDecimal(view.get('features', flag.key));
    const result = toOpenFeature(flag.key, evaluated, reasons, asDecimal);
    made[reasons].set(flag, result);
    return result;
  };
}

function toOpenFeature(key: string, evaluated: Evaluated, reasons: Reasons, asDecimal: boolean): OpenFeatureResult {
  const { value, variation, version, reason } = evaluated;
  const { kind, ...details } = reason;
  const metadata = {
    // A string, as OpenFeature's telemetry conventions require.
    version: String(version),
    ...details,
    ...(reasons === 'standard' && { reasonKind: kind }),
  };
  if (reason.kind === 'ERROR') {
    // As in LaunchDarkly's providers.
    const errorCode = reason.errorKind === 'MALFORMED_FLAG' ? 'PARSE_ERROR' : 'GENERAL';
    const errorDetails = `the flag could not be evaluated: ${reason.errorKind}`;
    return { failed: true, json: JSON.stringify({ key, errorCode, errorDetails, metadata }) };
  }
  // Without a value the caller's default applies, which is also what LaunchDarkly's SDKs return for null.
  const member = value === null ? '' : `"value":${toJson(value, asDecimal)},`;
  const success = {
    reason: reasons === 'standard' ? standardReason(reason) : kind,
    ...(variation !== null && { variant: String(variation) }),
    metadata,
  };
  return { failed: false, json: `{"key":${JSON.stringify(key)},${member}${JSON.stringify(success).slice(1)}` };
}

/**
 * Whole numbers of a flag that also has fractions get one, `100.0`: providers in Java and Python tell integers from doubles by
 * the text, and refuse an integer for a double.
 */
function toJson(value: unknown, asDecimal: boolean): string {
  const text = JSON.stringify(value);
  return asDecimal && /^-?\d+$/.test(text) ? `${text}.0` : text;
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
