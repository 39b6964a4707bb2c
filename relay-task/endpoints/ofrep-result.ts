/**
 * Answers about flags in OFREP's shape (`evaluationSuccess` and `evaluationFailure` of its OpenAPI, version 0.3), with the
 * variants and reasons that LaunchDarkly's OpenFeature providers give: the variation's index as text, and LaunchDarkly's reason.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Reason } from '../../lib/evaluation/index.ts';
import type { EvaluatedFlag } from '../ports.ts';

export interface OpenFeatureResult {
  readonly failed: boolean;
  /** One `evaluationSuccess` or `evaluationFailure`. */
  readonly json: string;
}

/**
 * `launchdarkly`: as LaunchDarkly's providers say it, OpenFeature leaving reasons open. `standard`: only what OFREP's
 * OpenAPI lists, LaunchDarkly's own beside it in the metadata.
 */
export type Reasons = 'launchdarkly' | 'standard';

/**
 * A client asks for standard reasons by `Prefer: reasons=standard` (RFC 7240). OpenFeature's provider for Python gets them
 * unasked: it looks reasons up in an enumeration and, for any other, gives its caller the default value.
 */
export function reasonsFor({ prefer = '', 'user-agent': userAgent = '' }: IncomingHttpHeaders): Reasons {
  const isAskedFor = /(?:^|,)\s*reasons="?standard"?\s*(?:[,;]|$)/i.test(String(prefer));
  return isAskedFor || userAgent.startsWith('python-requests/') ? 'standard' : 'launchdarkly';
}

/** What stands behind a flag's key in an `evalx` answer with reasons. */
interface Evaluated {
  readonly value: unknown;
  readonly variation: number | null;
  readonly version: number;
  readonly reason: Reason;
}

/** Equal answers of one state of a flag are one object, so each is put into this shape once. */
export function createOpenFeatureResults(): (flag: EvaluatedFlag, reasons: Reasons) => OpenFeatureResult {
  const made = { launchdarkly: new WeakMap(), standard: new WeakMap() } satisfies Record<
    Reasons,
    WeakMap<EvaluatedFlag, OpenFeatureResult>
  >;
  return (flag, reasons) => {
    const known: OpenFeatureResult | undefined = made[reasons].get(flag);
    if (known) return known;
    const result = toOpenFeature(flag.key, JSON.parse(flag.json), reasons);
    made[reasons].set(flag, result);
    return result;
  };
}

function toOpenFeature(key: string, evaluated: Evaluated, reasons: Reasons): OpenFeatureResult {
  const { value, variation, version, reason } = evaluated;
  const { kind, ...details } = reason;
  const metadata = {
    // Text, as OpenFeature's conventions for telemetry have it.
    version: String(version),
    ...details,
    ...(reasons === 'standard' && { reasonKind: kind }),
  };
  if (reason.kind === 'ERROR') {
    // As LaunchDarkly's providers translate it.
    const errorCode = reason.errorKind === 'MALFORMED_FLAG' ? 'PARSE_ERROR' : 'GENERAL';
    const errorDetails = `the flag could not be evaluated: ${reason.errorKind}`;
    return { failed: true, json: JSON.stringify({ key, errorCode, errorDetails, metadata }) };
  }
  const success = {
    key,
    // OFREP's way to say that the caller's default holds, which is what LaunchDarkly's SDKs return for null, too.
    ...(value !== null && { value }),
    reason: reasons === 'standard' ? standardReason(reason) : kind,
    ...(variation !== null && { variant: String(variation) }),
    metadata,
  };
  return { failed: false, json: JSON.stringify(success) };
}

/**
 * Of OFREP's list. What fell through is called UNKNOWN: by its reason alone it may have been a percentage of contexts or all
 * of them, and STATIC would allow providers to keep the value for everybody.
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
