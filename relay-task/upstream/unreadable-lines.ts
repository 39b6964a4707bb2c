import type { Item } from '../../lib/flag-table/index.ts';
import { counted } from '../common/counted.ts';
import { createPacedLines } from '../common/paced-lines.ts';
import type { Log, UnreadableItem } from '../ports.ts';
import type { Held } from './messages.ts';

interface UnreadableLinesOptions {
  readonly log: Log;
  /** What memory holds. */
  readonly held: Held;
  /** Behind *Item* in log messages: ` in the flags file`, or nothing. */
  readonly where: string;
  /** Added to every line. */
  readonly fields?: Readonly<Record<string, string>> | undefined;
}

/** Of one set. `/status` lists more. */
const MOST_NAMED = 10;
/** Of items that did not arrive in a set; their lines are paced in any case. */
const MOST_REMEMBERED = 10_000;

/** Log lines about invalid items: one when an item becomes invalid or its reason changes, and few however many items there are. */
export function createUnreadableLines({ log, held, where, fields }: UnreadableLinesOptions) {
  const paced = createPacedLines();
  /** Reasons by item. */
  let known = new Map<string, string>();

  function tell({ kind, key, reason }: UnreadableItem, more: { readonly suppressed?: number } = {}): void {
    const before = held(kind, key);
    const served = before && !before.deleted ? 'still serving its previous version' : 'nothing is served for it';
    log.warn(`Item${where} is invalid and was ignored; ${served}`, {
      ...fields,
      kind,
      key,
      reason,
      ...more,
      runbook: 'operations.md#unreadable-items',
    });
  }

  /** They were corrected, or deleted. */
  function tellEnded(names: readonly string[]): void {
    const items = names.slice(0, MOST_NAMED).join(', ');
    paced('ended', (more) =>
      log.info(`Items${where} that were invalid no longer are: ${counted(names.length, 'item')}`, {
        ...fields,
        items,
        ...more,
      }),
    );
  }

  return {
    /** The invalid items of a whole set, before it is delivered. */
    full(unreadable: readonly UnreadableItem[]): void {
      const news = unreadable.filter((item) => known.get(nameOf(item)) !== item.reason);
      const before = known;
      known = new Map(unreadable.map((item) => [nameOf(item), item.reason]));
      for (const item of news.slice(0, MOST_NAMED)) tell(item);
      const ended = [...before.keys()].filter((name) => !known.has(name));
      if (ended.length > 0) tellEnded(ended);
      const others = news.length - MOST_NAMED;
      if (others > 0) {
        paced('others', (more) =>
          log.warn('More items are invalid and were ignored; /status lists the first of them', {
            ...fields,
            items: others,
            ...more,
            runbook: 'operations.md#unreadable-items',
          }),
        );
      }
    },
    /** One became invalid. */
    skipped(item: UnreadableItem): void {
      if (known.get(nameOf(item)) === item.reason) return;
      if (known.size < MOST_REMEMBERED) known.set(nameOf(item), item.reason);
      paced(nameOf(item), (more) => tell(item, more));
    },
    /** A valid one arrived. */
    arrived(item: Item): void {
      if (known.delete(nameOf(item))) tellEnded([nameOf(item)]);
    },
  };
}

function nameOf({ kind, key }: Pick<UnreadableItem, 'kind' | 'key'>): string {
  return `${kind} ${key}`;
}
