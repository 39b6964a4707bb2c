import type { CompiledFlag } from './compile.ts';
import type { Flag } from './model.ts';

/**
 * Which client-side SDKs may see the flag. Data from before the question was asked says yes to mobile SDKs, and to browsers
 * what its `clientSide` says: as ld-relay has it. (All-flags state follows the Node SDK, which ignores `clientSide`.)
 */
export function clientSideAvailability(flag: Flag): { usingMobileKey: boolean; usingEnvironmentId: boolean } {
  const { clientSideAvailability: availability, clientSide } = flag as CompiledFlag;
  return {
    usingMobileKey: !availability || !!availability.usingMobileKey,
    usingEnvironmentId: !!(availability ? availability.usingEnvironmentId : clientSide),
  };
}
