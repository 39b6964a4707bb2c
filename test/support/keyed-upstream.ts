import type { FakeUpstream } from './fake-upstream.ts';

/** Who is let in by a fake LaunchDarkly. */
export interface Doorkeeper {
  /** The keys that are good; a live set. Anything else is answered with 401. */
  readonly good: Set<string>;
  /** As LaunchDarkly ends a key: its streams are cut, and it is let in no more. */
  end(key: string): void;
  /** How many streams this key has open. */
  streams(key: string): number;
}

/** From now on the fake takes events from anybody, and opens streams for these keys only. */
export function keepDoor(fake: FakeUpstream, ...good: string[]): Doorkeeper {
  const keys = new Set(good);
  fake.answer = ({ method, headers }) => {
    if (method === 'POST') return { status: 202 };
    return keys.has(String(headers.authorization)) ? 'stream' : { status: 401 };
  };
  return {
    good: keys,
    end(key) {
      keys.delete(key);
      fake.cut(({ headers }) => headers.authorization === key);
    },
    streams: (key) => fake.open().filter(({ headers }) => headers.authorization === key).length,
  };
}
