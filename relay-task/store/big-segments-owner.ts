/** Whose members a store of Big Segments holds, and when they are deleted to make room for another environment's. */
import type { BigSegmentMetadata } from './big-segments.ts';

/** Above the time between two confirmations of a relay (30 s). */
const QUIET_MS = 60_000;

/** Why the members may not be used by this environment; undefined: they may, as far as is known. */
export function ownerProblem(
  { environment, emptying, cursor }: BigSegmentMetadata,
  own: string | undefined,
  adopts = true,
): string | undefined {
  if (emptying) return `the store is being emptied for the Big Segments of the environment ${environment}`;
  if (environment === undefined && !adopts && cursor !== '') {
    return "the store holds Big Segments that name no environment and may be another one's";
  }
  if (environment === undefined || own === undefined || environment === own) return undefined;
  return `the store holds the Big Segments of the environment ${environment}, but the SDK key belongs to ${own}`;
}

export interface Emptier {
  /** As `OwnershipOptions.empty`. */
  empty(mark: string, environment: string): Promise<boolean>;
  /** Whether the last call of `empty` wrote this sign. */
  isOwn(sign: string | null | undefined): boolean;
}

interface OwnershipOptions {
  /** LaunchDarkly's ID of the environment that this relay writes; undefined: not known. */
  environment(): string | undefined;
  /** `BigSegmentOwnerOptions.adopts` */
  adopts?: (() => boolean) | undefined;
  /** How long a store must not have changed before another environment's members are deleted. Default 60 s. */
  readonly quietMs?: number | undefined;
  /** As of now; `mark` differs whenever any relay has written the metadata. */
  look(): Promise<{
    readonly metadata: BigSegmentMetadata;
    readonly mark: string;
    /** Whether the store is being emptied by this relay's last `empty`, which was interrupted. */
    readonly isOwnEmptying: boolean;
  }>;
  /** Writes whose members the store holds, if it does not say so yet. */
  name(environment: string): Promise<void>;
  /**
   * Deletes everything but the name of the new environment, unless the store has changed since it had this mark. False:
   * another relay was first, or took over.
   */
  empty(mark: string, environment: string): Promise<boolean>;
}

/**
 * Resolves when the store's members are of this environment, as far as that is known, and rejects with the reason while they
 * are not. Two relays, of which one has a wrong key, must not delete each other's members in turn. So members of another
 * environment are deleted only if no relay has written the metadata for `quietMs` on this relay's clock: one that keeps them
 * in step does so every 30 s. The same rule continues what a relay that died has begun; what this relay has begun itself goes on
 * at once.
 */
export function createOwnership(options: OwnershipOptions) {
  const { environment, adopts = () => true, quietMs = QUIET_MS, look, name, empty } = options;
  let seen: string | undefined;
  let since = 0;

  return async function own(): Promise<void> {
    const wanted = environment();
    let { metadata, mark, isOwnEmptying } = await look();
    const problemNow = () => ownerProblem(metadata, wanted, adopts());
    if (metadata.environment === undefined && wanted !== undefined && problemNow() === undefined) {
      await name(wanted);
      ({ metadata, mark, isOwnEmptying } = await look());
    }
    const problem = problemNow();
    if (problem === undefined) {
      seen = undefined;
      return;
    }
    if (mark !== seen && !isOwnEmptying) since = performance.now();
    seen = mark;
    const target = wanted ?? metadata.environment;
    if (target === undefined || performance.now() - since < quietMs) throw new Error(problem);
    if (!(await empty(mark, target))) throw new Error(problem);
    seen = undefined;
  };
}
