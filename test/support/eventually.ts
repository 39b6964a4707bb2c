import { availableParallelism, loadavg } from 'node:os';

/** The real clock, whatever a test makes of `performance.now` and `setTimeout`. */
const now = performance.now.bind(performance);
const { setTimeout, clearTimeout } = globalThis;

let mostCrowded = 1;
/** How many processes share a processor: with ten of them, everything takes ten times as long. The most since the start. */
function crowding(): number {
  mostCrowded = Math.max(mostCrowded, loadavg()[0]! / availableParallelism());
  return mostCrowded;
}

/** A time that other work must stay within, although the processes of this machine share its processors. */
export const roomy = (ms: number): number => Math.round(ms * crowding());

/** A bound against hanging, not an assertion of speed: long enough for a machine under heavy load. */
export const PATIENCE_MS = roomy(60_000);
const startedCrowding = mostCrowded;

/** Such a time as it is now: other processes may have come since. */
const lengthened = (ms: number): number => (ms / startedCrowding) * crowding();

/** Calls back once a time like `PATIENCE_MS` is over. Returns a function that prevents that. */
export function whenOver(withinMs: number, onOver: () => void): () => void {
  const begun = now();
  const look = () => {
    const leftMs = begun + lengthened(withinMs) - now();
    if (leftMs <= 0) onOver();
    else timer = setTimeout(look, leftMs);
  };
  let timer = setTimeout(look, withinMs);
  return () => clearTimeout(timer);
}

/**
 * Tries the claim every 5 ms, or less often if it takes long, since it may keep the processor busy; but at least every
 * 200 ms, since it may only wait for an answer. Throws its last failure once the time is over.
 */
export async function eventually<T>(claim: () => T | Promise<T>, withinMs = PATIENCE_MS): Promise<T> {
  const begun = now();
  for (;;) {
    const lookedAt = now();
    try {
      return await claim();
    } catch (error) {
      if (now() - begun > lengthened(withinMs)) throw error;
      const pauseMs = Math.min(200, Math.max(5, 8 * (now() - lookedAt)));
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}

/** Waits until the condition holds. After the time limit it throws and says what it waited for. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  withinMs = PATIENCE_MS,
): Promise<void> {
  await eventually(async () => {
    if (!(await holds())) throw new Error(`waited ${withinMs} ms for ${what}`);
  }, withinMs);
}

/** Lets the event loop run for some turns, so that data on sockets of this process is accepted and read. */
export async function turnsOfLoop(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}
