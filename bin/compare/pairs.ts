/** Which environment of one relay is which of the other. */
import type { EnvironmentKeys } from './arguments.ts';
import type { RelayStatus, ServedEnvironment } from './relay-status.ts';

/** One environment, on either relay or both. */
export interface Pair {
  readonly name: string;
  readonly keys: EnvironmentKeys | undefined;
  /** Undefined: the relay does not have it, or hides its status. */
  readonly old: ServedEnvironment | undefined;
  readonly new: ServedEnvironment | undefined;
}

/** All environments of both, and those of which only keys are known, in the order of the keys. */
export function pairUp(
  keys: readonly EnvironmentKeys[],
  old: RelayStatus | undefined,
  fresh: RelayStatus | undefined,
): Pair[] {
  const left = { old: [...(old?.environments ?? [])], new: [...(fresh?.environments ?? [])] };
  /** The first that fits best, and no second time. */
  const take = (side: 'old' | 'new', tests: readonly ((served: ServedEnvironment) => boolean)[]) => {
    for (const fits of tests) {
      const index = left[side].findIndex(fits);
      if (index >= 0) return left[side].splice(index, 1)[0];
    }
    return undefined;
  };
  const pairs: Pair[] = keys.map((known) => {
    const tests = testsOf(known);
    return { name: known.name, keys: known, old: take('old', tests), new: take('new', tests) };
  });
  for (const served of left.old) {
    const key = served.sdkKey;
    const tests = [
      (other: ServedEnvironment) => served.environmentId !== undefined && other.environmentId === served.environmentId,
      (other: ServedEnvironment) => key !== undefined && endOf(key) !== '' && endOf(other.sdkKey ?? '') === endOf(key),
      (other: ServedEnvironment) => other.id === served.id,
    ];
    // Payload filters share the keys of their environment, and only the name tells them apart.
    const sharesKey = old!.environments.some((other) => other !== served && other.sdkKey === key);
    pairs.push({
      name: nameOf(served),
      keys: undefined,
      old: served,
      new: take('new', sharesKey ? tests.slice(2) : tests),
    });
  }
  return [
    ...pairs,
    ...left.new.map((served) => ({ name: nameOf(served), keys: undefined, old: undefined, new: served })),
  ];
}

const nameOf = ({ id, label }: ServedEnvironment) => label ?? id;

function testsOf({ name, sdkKey, environmentId, filter }: EnvironmentKeys) {
  const isName = ({ id, label }: ServedEnvironment) => id === name || label === name;
  if (filter !== undefined) return [isName];
  return [
    (served: ServedEnvironment) =>
      isName(served) && (sdkKey === undefined || served.sdkKey === undefined || fitsShown(sdkKey, served.sdkKey)),
    (served: ServedEnvironment) => environmentId !== undefined && served.environmentId === environmentId,
    (served: ServedEnvironment) =>
      sdkKey !== undefined &&
      [served.sdkKey, ...served.otherSdkKeys].some(
        (shown) => shown !== undefined && endOf(shown) !== '' && fitsShown(sdkKey, shown),
      ),
    isName,
  ];
}

/** Whether a key may be the one that `/status` shows with asterisks. ld-relay hides hex digits only, this relay everything. */
export function fitsShown(key: string, shown: string): boolean {
  if (key.length !== shown.length) return false;
  return [...shown].every((character, index) => character === '*' || character === key[index]);
}

/** What is shown of an obscured key: its last characters. '' for a key that is hidden as a whole. */
function endOf(shown: string): string {
  return /\*([^*]{4,})$/.exec(shown)?.[1] ?? '';
}
