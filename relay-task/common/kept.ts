import { type Budget, createBudget } from './budget.ts';

/** Where a value is kept that can be made again. Its owner makes it again once it is gone. */
export class Place<T> {
  value: T | undefined = undefined;
}

/** A cache of values that can be made again. It keeps as much as fits into a budget; once that is full, it forgets everything. */
export interface Kept {
  /** `bytes`: what the value takes in memory, estimated. False: there is no room for it, and it is not kept. */
  keep<T>(place: Place<T>, value: T, bytes: number): boolean;
}

/** The place, its part of the list, and what a text takes besides its characters. */
const PLACE_BYTES = 64;
const DEFAULT_BYTES = 8 * 1024 * 1024;

/** By default with a small budget of its own. */
export function createKept(budget: Budget = createBudget(DEFAULT_BYTES)): Kept {
  // Places alone, not their owners, so that these can be garbage-collected. Their values count until everything is forgotten.
  let places: Place<unknown>[] = [];
  let keptBytes = 0;

  function forget(): void {
    for (const place of places) place.value = undefined;
    places = [];
    budget.release(keptBytes);
    keptBytes = 0;
  }

  return {
    keep(place, value, bytes) {
      const size = PLACE_BYTES + bytes;
      if (size > budget.maxBytes) return false;
      if (!budget.reserve(size)) {
        forget();
        if (!budget.reserve(size)) return false;
      }
      keptBytes += size;
      places.push(place as Place<unknown>);
      place.value = value;
      return true;
    },
  };
}
