/** Brings the flags that LaunchDarkly sends into memory. */
import type { Item } from '../../lib/flag-table/index.ts';
import { createPacedLines, createReasonLines } from '../common/paced-lines.ts';
import { inSendingOrder } from '../common/prerequisites.ts';
import type { Log, UnreadableItem, UpstreamSink } from '../ports.ts';
import { type Held, isUnreadable } from './messages.ts';
import { type Failure, invalidData } from './status.ts';
import type { Step } from './synchronizer.ts';
import { createUnreadableLines } from './unreadable-lines.ts';

export interface DeliveryOptions {
  readonly sink: UpstreamSink;
  readonly log: Log;
  /** What memory holds. */
  readonly held?: Held | undefined;
  /**
   * Differs after every change of memory, whoever made it. LaunchDarkly is asked for changes only if memory has not changed since
   * the last delivery. Without this function every transfer is a full one.
   */
  readonly generation?: (() => unknown) | undefined;
}

type Changes = Extract<Step, { kind: 'changes' }>['changes'];

const FULL = 'Received the full flag set from LaunchDarkly';
/** Of one connection; others are paced. */
const MOST_FULL_LINES = 3;

export function createDelivery({ sink, log, held = () => undefined, generation }: DeliveryOptions) {
  const warnIgnored = createReasonLines((fields) =>
    log.warn('Ignored a message from LaunchDarkly', { ...fields, runbook: 'operations.md#ignored-messages' }),
  );
  const unreadableLines = createUnreadableLines({ log, held, where: '' });
  const pacedFull = createPacedLines();
  /** The state that was delivered last, and the generation of memory right after it. */
  let known: { readonly state: string; readonly generation: unknown } | undefined;
  let fullSets = 0;

  const basis = () => (known && known.generation === generation?.() ? known.state : undefined);
  const remember = (state: string | undefined) => {
    known = state === undefined || !generation ? undefined : { state, generation: generation() };
  };

  function full({ items, unreadable, state }: Extract<Step, { kind: 'full' }>, receivedAt: number): void {
    unreadableLines.full(unreadable);
    sink.put(items, unreadable, receivedAt);
    remember(state);
    fullSets += 1;
    const write = (more: object) => log.info(FULL, { items: items.length, unreadable: unreadable.length, ...more });
    if (fullSets <= MOST_FULL_LINES) write({});
    else pacedFull('full', write);
  }

  function change(changes: Changes, receivedAt: number): void {
    const items = changes.flatMap((one) => (isUnreadable(one) ? [] : one));
    for (const one of changes) {
      if (!isUnreadable(one)) {
        unreadableLines.arrived(one);
        continue;
      }
      unreadableLines.skipped(one);
      sink.skip(one);
    }
    // A transfer is one change: no reader of the parts finds a flag before what it names.
    for (const item of items.length > 1 ? inSendingOrder(items, held) : items) sink.upsert(item, receivedAt);
  }

  return {
    /** The state that changes may be asked for; `Way`. */
    basis,
    /** Everything has to be asked for. */
    forget: () => remember(undefined),
    /** A connection was opened. After it there is a line; a peer that sends everything over and over does not fill the log. */
    opened(): void {
      fullSets = 0;
    },
    /**
     * `complete`: memory is what LaunchDarkly has; `onAccepted` is called before memory changes. A failure: the step cannot be used.
     * `isOnly`: nothing else may have brought newer versions meanwhile.
     */
    take(step: Step, receivedAt: number, isOnly: boolean, onAccepted: () => void): Failure | 'complete' | undefined {
      switch (step.kind) {
        case 'full':
          onAccepted();
          full(step, receivedAt);
          return 'complete';
        case 'changes':
          if (step.state === undefined) {
            change(step.changes, receivedAt);
            return undefined;
          }
          if (basis() === undefined) return invalid('changes to a state that memory does not have');
          onAccepted();
          change(step.changes, receivedAt);
          remember(step.state);
          if (isOnly && step.changes.some((one) => isOlder(one, held))) {
            remember(undefined);
            return invalid('a lower version than memory has');
          }
          return 'complete';
        case 'current':
          if (basis() === undefined) return invalid('nothing, although it was asked for everything');
          onAccepted();
          return 'complete';
        case 'ignored':
          warnIgnored(step.why);
          return undefined;
        case 'invalid':
          return invalidData(step.problem);
        default:
          return undefined;
      }
    },
  };
}

function invalid(what: string): Failure {
  return invalidData(`LaunchDarkly sent ${what}`);
}

/** It takes an item back to a lower version than memory has. */
function isOlder(one: Item | UnreadableItem, held: Held): boolean {
  return !isUnreadable(one) && one.version < (held(one.kind, one.key)?.version ?? 0);
}
