import type { CompiledFlag } from './compile.ts';
import type { Flag } from './model.ts';

/**
 * Which client-side SDKs may see the flag. As in ld-relay, a flag without `clientSideAvailability` is available to mobile
 * SDKs, and to browsers if `clientSide` is set. (All-flags state follows the Node SDK, which ignores `clientSide`.)
 */
export function clientSideAvailability(flag: Flag): { usingMobileKey: boolean; usingEnvironmentId: boolean } {
  const { clientSideAvailability: availability, clientSide } = flag as CompiledFlag;
  return {
    usingMobileKey: !availability || !!availability.usingMobileKey,
    usingEnvironmentId: !!(availability ? availability.usingEnvironmentId : clientSide),
  };
}
