import type { Item, Kind } from '../../lib/flag-table/index.ts';

/** The name of an item, without what it holds: what is sent is always what is held now. */
interface Name {
  readonly kind: Kind;
  readonly key: string;
}

interface Step {
  readonly state: string;
  /** What differs from the step before. */
  readonly names: readonly Name[];
}

/**
 * The states of an environment that are remembered, oldest first, and what led from each to the next. A state is a digest
 * of live items, so another relay that holds the same calls it the same.
 */
export interface History {
  /** The newest state; '' before the first. */
  readonly latest: string;
  /**
   * `patch`: every version rose. `put`: only the whole set makes readers right, so nothing leads here from what was.
   */
  record(state: string, kind: 'put' | 'patch', items: readonly Item[]): void;
  /** What differs between that state and the newest, each name once; undefined: it is not remembered. */
  since(state: string): readonly Name[] | undefined;
}

const MAX_STEPS = 1_024;
const MAX_NAMES = 10_000;

export function createHistory(limits: { readonly steps?: number; readonly names?: number } = {}): History {
  const { steps: maxSteps = MAX_STEPS, names: maxNames = MAX_NAMES } = limits;
  let steps: Step[] = [];
  /** Steps that were forgotten. */
  let base = 0;
  let names = 0;
  const places = new Map<string, number>();
  /** States from before the last `put`s. Who names one of them may hold something later, with versions that fell since. */
  const left = new Set<string>();

  const forget = (count: number) => {
    for (let i = 0; i < count; i++) {
      const { state } = steps[i]!;
      if (places.get(state) === base + i) places.delete(state);
      names -= steps[i]!.names.length;
    }
    steps = steps.slice(count);
    base += count;
  };
  const trim = () => {
    if (steps.length <= maxSteps && names <= maxNames) return;
    let count = 0;
    let kept = names;
    while (count < steps.length - 1 && (steps.length - count > maxSteps / 2 || kept > maxNames / 2)) {
      kept -= steps[count++]!.names.length;
    }
    forget(count);
  };

  return {
    get latest() {
      return steps.at(-1)?.state ?? '';
    },
    record(state, kind, items) {
      if (kind === 'put') {
        if (left.size > maxSteps) left.clear();
        for (const step of steps) left.add(step.state);
        forget(steps.length);
      }
      // An SDK that reconnects names the state in which it first connected, whatever it has heard since. Going back to a
      // state that somebody had left is the one case in which that would leave it with versions that are too high.
      if (!left.has(state)) places.set(state, base + steps.length);
      steps.push({ state, names: items.map((item) => ({ kind: item.kind, key: item.key })) });
      names += items.length;
      trim();
    },
    since(state) {
      const place = places.get(state);
      if (place === undefined) return undefined;
      const found = new Map<string, Name>();
      for (const step of steps.slice(place - base + 1)) {
        for (const name of step.names) found.set(`${name.kind}/${name.key}`, name);
      }
      return [...found.values()];
    },
  };
}
