/** The upstream of one tenant: started, tried again, and kept to the description that the source gives at present. */
import type { EnvironmentDescription, Log, Upstream } from '../ports.ts';
import { createBackground } from './background.ts';

export interface TenantUpstream extends Upstream {
  /** Another key for the same data; absent where no key is used. */
  setKey?(sdkKey: string): void;
  /** Set while a new key is rejected and the one before it is still used. */
  keyProblem?(): EnvironmentDescription['keyProblem'];
}

export interface FollowingUpstream {
  /** Undefined while there is none: before the first start, between two sources, or without a key. */
  present(): TenantUpstream | undefined;
  /** Rejects when the upstream cannot be started; it is tried again then. */
  start(): Promise<void>;
  /** The description has changed. */
  follow(): void;
  close(): Promise<void>;
}

const RETRY_MS = 5_000;

export function createFollowingUpstream(options: {
  readonly name: string;
  readonly log: Log;
  description(): EnvironmentDescription;
  /** Resolves with undefined while there is nothing to start from. */
  open(): Promise<TenantUpstream | undefined>;
  onStarted(): void;
}): FollowingUpstream {
  const { name, log, description } = options;
  const background = createBackground();
  let present: TenantUpstream | undefined;
  /** The description that the present upstream was started for or has followed since. */
  let followed: EnvironmentDescription | undefined;
  /** From creation, or from the end of one upstream, until there is another or it could not be started. */
  let starting = true;
  let retry: NodeJS.Timeout | undefined;
  let closed = false;

  async function start(): Promise<void> {
    if (closed) return;
    const startedFor = description();
    starting = true;
    try {
      const upstream = await options.open();
      if (closed) return await upstream?.close();
      present = upstream;
      followed = startedFor;
      starting = false;
      follow();
      options.onStarted();
    } catch (error) {
      starting = false;
      tryAgain((error as Error).message);
      throw error;
    }
  }

  function tryAgain(reason: string): void {
    retry = setTimeout(() => {
      // Logged only here: where the configuration itself is wrong, the relay exits with this reason before.
      log.error('Could not start the flag source for the environment; retrying', { environment: name, reason });
      start().catch(() => {});
    }, RETRY_MS);
    retry.unref();
  }

  async function restart(): Promise<void> {
    const old = present;
    clearTimeout(retry);
    starting = true;
    // Memory keeps its data until the new source delivers.
    present = undefined;
    followed = undefined;
    await old?.close();
    await start();
  }

  function follow(): void {
    const next = description();
    // A start in progress looks for changes itself when it is done.
    if (starting || next === followed) return;
    if (!followed || !isSameSource(next, followed)) {
      background.add(restart());
      return;
    }
    const { sdkKey } = followed;
    followed = next;
    if (next.sdkKey !== undefined && next.sdkKey !== sdkKey) present?.setKey?.(next.sdkKey);
  }

  return {
    present: () => present,
    start,
    follow,
    async close() {
      closed = true;
      clearTimeout(retry);
      await Promise.all([present?.close(), background.ended()]);
    },
  };
}

/** Whether an upstream can go on with the next description; a key that only changes is handed to it. */
function isSameSource(a: EnvironmentDescription, b: EnvironmentDescription): boolean {
  const sameKeys = (a.sdkKey === undefined) === (b.sdkKey === undefined);
  return sameKeys && a.flagsFile === b.flagsFile && a.data?.id === b.data?.id;
}
