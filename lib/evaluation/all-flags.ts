import type { CompiledFlag } from './compile.ts';
import type { AllFlagsOptions, Context, Flag, FlagMetadata, FlagResult, FlagsState } from './model.ts';

/** The state of all flags as JSON for bootstrapping client-side SDKs. A flag without a chosen variation has the value null. */
export function flagsState(
  context: Context | undefined,
  options: AllFlagsOptions,
  evaluateFlag: (flag: Flag, context: Context) => FlagResult,
): FlagsState {
  const values: [string, unknown][] = [];
  const metadata: [string, FlagMetadata][] = [];
  const valid = context !== undefined;
  if (valid) {
    for (const flag of options.flags) {
      if (
        flag.deleted ||
        (options.clientSideOnly && !(flag as CompiledFlag).clientSideAvailability?.usingEnvironmentId)
      )
        continue;
      const result = evaluateFlag(flag, context);
      values.push([flag.key, result.detail.value]);
      metadata.push([flag.key, describe(flag, result, options)]);
    }
  }
  // fromEntries defines own properties, so a flag named __proto__ works like any other.
  return { ...Object.fromEntries(values), $flagsState: Object.fromEntries(metadata), $valid: valid };
}

function describe(
  flag: Flag,
  { detail, prerequisites, isExperiment }: FlagResult,
  options: AllFlagsOptions,
): FlagMetadata {
  const { debugEventsUntilDate, version } = flag;
  const trackEvents = flag.trackEvents || isExperiment;
  const withDetails = !options.detailsOnlyForTrackedFlags || trackEvents || debugEventsUntilDate !== undefined;
  return {
    ...(detail.variationIndex !== null && { variation: detail.variationIndex }),
    ...(withDetails && version !== undefined && { version }),
    ...((isExperiment || (options.withReasons && withDetails)) && { reason: detail.reason }),
    ...(trackEvents && { trackEvents }),
    ...(isExperiment && { trackReason: true }),
    ...(debugEventsUntilDate !== undefined && { debugEventsUntilDate }),
    ...(prerequisites.length > 0 && { prerequisites }),
  } as FlagMetadata;
}
