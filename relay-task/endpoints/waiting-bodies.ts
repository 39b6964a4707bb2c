/**
 * Large bodies that wait for memory, unread: TCP holds their clients back. While there is plenty, all are read at once. When an address
 * runs short, its bodies are read one after the other, each to its end: if all were read on, each might hold a part and none could be completed.
 */
import { createFairQueue, type Lanes } from '../common/fair-queue.ts';
import type { SharedBudget } from '../common/shared-budget.ts';

interface WaitingBodies {
  open(lanes: Lanes): WaitingBody;
  /** Memory was given back. */
  proceed(): void;
  /** Nothing waits any more. */
  close(): void;
}

export interface WaitingBody {
  /**
   * Takes memory for the next piece; read no other one before the answer. False: there is none, or there was none in time; then this body
   * is not to be continued.
   */
  take(bytes: number): boolean | Promise<boolean>;
  /** It has arrived, or never will. */
  leave(): void;
}

interface WaitingBodiesOptions {
  /** For all of its waiting. */
  readonly waitMs: number;
  /** `isNext`: it is the one of its lanes that is read to its end, and may take more than while all are read. */
  readonly take: (lanes: Lanes, bytes: number, isNext: boolean) => boolean;
  /** For what has been read and waits: without it, a body does not wait. */
  readonly hands: SharedBudget;
}

interface Body {
  readonly lanes: Lanes;
  /** While it waits. */
  resolve: ((isTaken: boolean) => void) | undefined;
  bytes: number;
  /** Before. */
  waitedMs: number;
  /** `performance.now()` when it began to wait, or had its last piece. */
  since: number;
}

/** The piece that has to wait, and the next one, which node:http reads before it stops. */
const HANDS_BYTES = 2 * 64 * 1024;
/** Memory is also given back where this does not hear of it. */
const LOOK_MS = 50;
/** After this long without data, a client no longer holds up the others of its lanes. */
const STALLED_MS = 500;

export function createWaitingBodies({ waitMs, take, hands }: WaitingBodiesOptions): WaitingBodies {
  /** By lanes: the one that is read to its end, then those that wait for that. */
  const lines = new Map<string, Body[]>();
  /** The first ones that wait. */
  const next = createFairQueue<Body>();
  let timer: NodeJS.Timeout | undefined;
  let isScheduled = false;
  let isClosed = false;

  const lineOf = ({ lanes }: Body) => lines.get(lanes.join('\n')) ?? [];
  const isNext = (body: Body) => lineOf(body)[0] === body;

  function leave(body: Body) {
    settle(hands, body, false);
    const line = lineOf(body);
    const at = line.indexOf(body);
    if (at < 0) return;
    line.splice(at, 1);
    if (line.length === 0) lines.delete(body.lanes.join('\n'));
    else if (at === 0) beNext(line[0]);
    if (lines.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  }

  function beNext(body: Body | undefined) {
    if (body?.resolve) next.push(body.lanes, body);
    proceed();
  }

  function enter(body: Body) {
    const line = lineOf(body);
    if (line.includes(body)) return;
    line.push(body);
    lines.set(body.lanes.join('\n'), line);
    timer ??= setInterval(look, LOOK_MS).unref();
  }

  function look() {
    const now = performance.now();
    const isOver = (body: Body) => now - body.since >= (body.resolve ? waitMs - body.waitedMs : STALLED_MS);
    for (const line of Array.from(lines.values())) {
      const [first, ...others] = line.filter(isOver);
      // All may hold parts and wait for each other. What the others give back may do for the first one.
      if (first && (others.length === 0 || first !== line[0])) leave(first);
      for (const body of others) leave(body);
    }
    proceed();
  }

  /** Later, since much may be given back at once. */
  function proceed() {
    if (isScheduled || next.size === 0) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      const rest: Body[] = [];
      for (let body = next.shift(); body; body = next.shift()) {
        if (!body.resolve) continue;
        if (take(body.lanes, body.bytes, true)) settle(hands, body, true);
        else rest.push(body);
      }
      for (const body of rest) next.push(body.lanes, body);
    });
  }

  function wait(body: Body, bytes: number): false | Promise<boolean> {
    if (isClosed || body.waitedMs >= waitMs || !hands.reserve(body.lanes, HANDS_BYTES)) {
      leave(body);
      return false;
    }
    body.bytes = bytes;
    return new Promise((resolve) => {
      body.resolve = resolve;
      if (isNext(body)) next.push(body.lanes, body);
    });
  }

  return {
    open(lanes) {
      const body: Body = { lanes, resolve: undefined, bytes: 0, waitedMs: 0, since: 0 };
      return {
        take(bytes) {
          body.since = performance.now();
          if (take(lanes, bytes, isNext(body))) return true;
          enter(body);
          if (isNext(body) && take(lanes, bytes, true)) return true;
          return wait(body, bytes);
        },
        leave: () => leave(body),
      };
    },
    proceed,
    close() {
      isClosed = true;
      for (const body of Array.from(lines.values()).flat()) leave(body);
    },
  };
}

/** It waits no longer. */
function settle(hands: WaitingBodiesOptions['hands'], body: Body, isTaken: boolean): void {
  const { resolve } = body;
  if (!resolve) return;
  const now = performance.now();
  body.resolve = undefined;
  body.waitedMs += now - body.since;
  body.since = now;
  hands.release(body.lanes, HANDS_BYTES);
  resolve(isTaken);
}
