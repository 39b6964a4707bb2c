import type { FakeUpstream } from './fake-upstream.ts';

/** The keys that a fake LaunchDarkly accepts. */
export interface Doorkeeper {
  /** The accepted keys; a live set. Other keys get 401. */
  readonly good: Set<string>;
  /** Revokes a key like LaunchDarkly: its streams are cut, and it is rejected. */
  end(key: string): void;
  /** The number of open streams of this key. */
  streams(key: string): number;
}

/** From now on the fake accepts events from anyone, and streams for these keys only. */
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
