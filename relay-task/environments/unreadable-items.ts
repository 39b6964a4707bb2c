import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { showJson } from '../common/json.ts';
import type { UnreadableItem } from '../ports.ts';
import { readStored } from './stored.ts';

/** How many unreadable changes are remembered; a whole set has a limit of its own. */
const MOST_UNREADABLE = 10_000;

const nameOf = ({ kind, key }: Pick<Item, 'kind' | 'key'>) => `${kind}/${key}`;

/** The items that were invalid when they last arrived. `onSkipped` gets the problems of a store's items that are new. */
export function createUnreadableItems(onSkipped: (problems: readonly string[]) => void) {
  let unreadable = new Map<string, UnreadableItem>();

  function add(item: UnreadableItem): void {
    if (unreadable.size < MOST_UNREADABLE || unreadable.has(nameOf(item))) unreadable.set(nameOf(item), item);
  }

  return {
    add,
    has: (kind: Kind, key: string) => unreadable.has(nameOf({ kind, key })),
    delete: (item: Item) => unreadable.delete(nameOf(item)),
    list: () => [...unreadable.values()],
    /** Forgets all others: these are a whole set's. */
    replace(items: readonly UnreadableItem[]): void {
      unreadable = new Map(items.map((item) => [nameOf(item), item]));
    },
    /** Reads items of a store. The invalid ones are added. */
    readable(items: readonly Item[]): Item[] {
      const readable: Item[] = [];
      const problems: string[] = [];
      for (const item of items) {
        const read = readStored(item);
        if ('json' in read) {
          readable.push(read);
          continue;
        }
        const { kind, key } = item;
        const { reason } = read;
        if (unreadable.get(nameOf(item))?.reason !== reason) problems.push(`${kind} ${showJson(key)}: ${reason}`);
        add({ kind, key, reason });
      }
      onSkipped(problems);
      return readable;
    },
  };
}
