import type { Shares } from '../common/shares.ts';
import type { Batch } from './parcel.ts';

/** Events that wait to be sent, the oldest first. */
export interface Line {
  readonly isEmpty: boolean;
  readonly bytes: number;
  /** How many more events of this sender fit. */
  room(sender: string): number;
  /** Also if there is no room. */
  push(batch: Batch): void;
  /** Takes the oldest of the wanted batches: at least one if there is any, otherwise up to so many bytes. */
  take(maxBytes: number, wanted?: (batch: Batch) => boolean): readonly Batch[];
}

/** `group`: all senders of this line together count as one, too. */
export function createLine(places: Shares, group?: string): Line {
  const lanesOf = (sender: string) => (group === undefined ? [sender] : [sender, group]);
  let waiting: Batch[] = [];
  let waitingBytes = 0;
  return {
    get isEmpty() {
      return waiting.length === 0;
    },
    get bytes() {
      return waitingBytes;
    },
    room: (sender) => places.room(lanesOf(sender)),
    push(batch) {
      waiting.push(batch);
      waitingBytes += batch.bytes.length;
      places.take(lanesOf(batch.sender), batch.events);
    },
    take(maxBytes, wanted = () => true) {
      const taken: Batch[] = [];
      let bytes = 0;
      let isFull = false;
      waiting = waiting.filter((batch) => {
        if (isFull || !wanted(batch)) return true;
        bytes += batch.bytes.length;
        isFull = taken.length > 0 && bytes > maxBytes;
        if (!isFull) taken.push(batch);
        return isFull;
      });
      for (const batch of taken) {
        waitingBytes -= batch.bytes.length;
        places.giveBack(lanesOf(batch.sender), batch.events);
      }
      return taken;
    },
  };
}
