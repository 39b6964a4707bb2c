import type { Item } from '../../lib/flag-table/index.ts';

/** The name of an item without its content, since the present content is always the one to send. */
type Name = Pick<Item, 'kind' | 'key'>;

interface Step {
  readonly state: string;
  /** What differs from the previous step. */
  readonly names: readonly Name[];
}

const MAX_STEPS = 1_024;
const MAX_NAMES = 10_000;

/**
 * The remembered states of an environment, oldest first, and what led from each to the next. A state is a digest of the
 * live items, so it is equal in every relay that holds the same items.
 */
export function createHistory(limits: { readonly steps?: number; readonly names?: number } = {}) {
  const { steps: maxSteps = MAX_STEPS, names: maxNames = MAX_NAMES } = limits;
  let steps: Step[] = [];
  /** How many steps were forgotten. */
  let base = 0;
  let names = 0;
  const places = new Map<string, number>();
  /** States from before the last `put`s. A client that names one may hold later items, whose versions fell since. */
  const left = new Set<string>();

  const forget = (count: number) => {
    for (const [index, step] of steps.slice(0, count).entries()) {
      if (places.get(step.state) === base + index) places.delete(step.state);
      names -= step.names.length;
    }
    steps = steps.slice(count);
    base += count;
  };
  const trim = () => {
    if (steps.length <= maxSteps && names <= maxNames) return;
    let count = 0;
    let kept = names;
    for (const step of steps.slice(0, -1)) {
      if (steps.length - count <= maxSteps / 2 && kept <= maxNames / 2) break;
      kept -= step.names.length;
      count += 1;
    }
    forget(count);
  };

  return {
    /** The newest state; '' before the first. */
    get latest(): string {
      return steps.at(-1)?.state ?? '';
    },
    /** `patch`: every version rose. `put`: readers need the whole set, so no earlier state leads here. */
    record(state: string, kind: 'put' | 'patch', items: readonly Item[]): void {
      if (kind === 'put') {
        if (left.size > maxSteps) left.clear();
        for (const step of steps) left.add(step.state);
        forget(steps.length);
      }
      // An SDK that reconnects names the state of its first connection, whatever it received since. If the environment
      // goes back to such a state, the SDK would keep versions that are too high, so the state stays unknown.
      if (!left.has(state)) places.set(state, base + steps.length);
      steps.push({ state, names: items.map((item) => ({ kind: item.kind, key: item.key })) });
      names += items.length;
      trim();
    },
    /** What differs between that state and the newest, each name once; undefined when it is not remembered. */
    since(state: string): readonly Name[] | undefined {
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
