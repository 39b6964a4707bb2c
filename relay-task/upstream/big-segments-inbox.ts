import { type Budget, createShare } from '../common/budget.ts';
import type { BigSegmentPatch, MemberChanges } from '../ports.ts';
import { bytesOf } from './received-limit.ts';

/** Patches that the stream delivered and that wait for the store, the oldest first. */
export interface BigSegmentInbox {
  readonly length: number;
  /** False: there is no room for all of them, and none was added. */
  add(patches: readonly BigSegmentPatch[]): boolean;
  shift(): BigSegmentPatch | undefined;
  /** Removes everything up to and including the last patch that brings the store to this version; false if there is none. */
  skipTo(version: string): boolean;
  clear(): void;
}

const MOST_PATCHES = 1_000;
/** Estimated memory of a patch, and of a hash besides its text. */
const PATCH_BYTES = 500;
const HASH_BYTES = 40;

/** `memory`: for everything that LaunchDarkly has sent and the relay has not processed yet; undefined without a limit. */
export function createBigSegmentInbox(memory: Budget | undefined): BigSegmentInbox {
  const share = memory && createShare(memory);
  const patches: { readonly patch: BigSegmentPatch; readonly bytes: number }[] = [];
  const release = (removed: readonly { readonly bytes: number }[]) => {
    for (const { bytes } of removed) share?.release(bytes);
  };
  return {
    get length() {
      return patches.length;
    },
    add(more) {
      const sizes = more.map(patchBytes);
      const whole = sizes.reduce((sum, bytes) => sum + bytes, 0);
      if (patches.length + more.length > MOST_PATCHES || share?.reserve(whole) === false) return false;
      for (const [index, patch] of more.entries()) patches.push({ patch, bytes: sizes[index] ?? 0 });
      return true;
    },
    shift() {
      const first = patches.shift();
      if (first) release([first]);
      return first?.patch;
    },
    skipTo(version) {
      const at = patches.findLastIndex(({ patch }) => patch.version === version);
      release(patches.splice(0, at + 1));
      return at >= 0;
    },
    clear() {
      release(patches.splice(0));
    },
  };
}

function patchBytes({ segmentRef, previousVersion, version, included, excluded }: BigSegmentPatch): number {
  const ofChanges = ({ add, remove }: MemberChanges) =>
    [add, remove].reduce((sum, hashes) => hashes.reduce((all, hash) => all + HASH_BYTES + bytesOf(hash), sum), 0);
  const texts = [segmentRef, previousVersion, version].reduce((sum, text) => sum + bytesOf(text), 0);
  return PATCH_BYTES + texts + ofChanges(included) + ofChanges(excluded);
}
