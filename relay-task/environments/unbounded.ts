import { compileSegment, type Dialect, type Segment } from '../../lib/evaluation/index.ts';
import type { Item } from '../../lib/flag-table/index.ts';
import type { JsonObject } from '../common/json.ts';

/** The Big Segments among the items, found at first use. */
export function createUnbounded(items: () => Iterable<Item>, dialect: Dialect) {
  let found: readonly Segment[] | undefined;
  let foundKinds: ReadonlySet<string> | undefined;

  function find(): Segment[] {
    const list: Segment[] = [];
    for (const { deleted, json } of items()) {
      // Checking the text first avoids parsing segments with long lists of members.
      if (deleted || !/"unbounded"\s*:\s*true/.test(json)) continue;
      const held = headOf(json, dialect);
      if (held.unbounded) list.push(held);
    }
    return list;
  }
  function segments(): readonly Segment[] {
    found ??= find();
    return found;
  }
  return {
    segments,
    /** Their context kinds. */
    kinds(): ReadonlySet<string> {
      foundKinds ??= new Set(segments().map(kindOf));
      return foundKinds;
    },
    changed(): void {
      found = undefined;
      foundKinds = undefined;
    },
  };
}

/** A segment without its lists, which take longest to compile. */
function headOf(json: string, dialect: Dialect): Segment {
  const { key, version, unbounded, unboundedContextKind, generation } = JSON.parse(json) as JsonObject;
  return compileSegment({ key, version, unbounded, unboundedContextKind, generation }, dialect);
}

/** The context kind of a Big Segment. Compiled segments have it; the public type does not. */
function kindOf(segment: Segment): string {
  return (segment as Segment & { unboundedKind: string }).unboundedKind;
}
