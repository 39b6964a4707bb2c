/**
 * What senders hold of something scarce: the places of a queue, or memory. When it is used up, the sender that holds most makes room, as long
 * as it holds more than the newcomer then would. So no one within an equal share loses anything, however many flood. ("Longest queue drop":
 * Suter, Lakshman, Stiliadis and Choudhury, "Design considerations for supporting TCP with per-flow queueing", 1998)
 */
import { createRanking, type Ranking } from './ranking.ts';

export interface Sender {
  /** Identifies the address. */
  readonly name: string;
  /** All suspects together, except those that are only doubted, count as one sender among the others and share what it gets. */
  readonly isSuspect: boolean;
}

export interface Holders {
  readonly total: number;
  change(sender: Sender, amount: number): void;
  /** Who makes room so that this sender can hold this much more, and how much of it before it is another's turn. */
  whoYields(to: Sender, more: number): { readonly sender: Sender; readonly amount: number } | undefined;
  /** How much more this sender could hold at most if others made room. */
  yielding(to: Sender): number;
}

/** Its name among addresses. */
const SUSPECTS = 'suspects';

export function createHolders(): Holders {
  const all = createRanking();
  const suspects = createRanking();
  let total = 0;
  const groupOf = ({ name, isSuspect }: Sender) => (isSuspect ? SUSPECTS : name);

  /** `amount`: how much the heaviest of a ranking holds beyond this one with that much more, and beyond the next one. */
  const heavierIn = (ranking: Ranking, name: string, more: number) => {
    const heaviest = ranking.heaviest();
    if (!heaviest || heaviest.name === name) return undefined;
    const wouldHold = ranking.heldBy(name) + more;
    if (heaviest.held <= wouldHold) return undefined;
    return { name: heaviest.name, amount: heaviest.held - Math.max(heaviest.next, wouldHold) };
  };
  const beyond = (ranking: Ranking, name: string) =>
    Math.max(0, (ranking.heaviest()?.held ?? 0) - ranking.heldBy(name) - 1);

  return {
    get total() {
      return total;
    },
    change(sender, amount) {
      total += amount;
      all.change(groupOf(sender), amount);
      if (sender.isSuspect) suspects.change(sender.name, amount);
    },
    whoYields(to, more) {
      const heavier = heavierIn(all, groupOf(to), more);
      if (heavier && heavier.name !== SUSPECTS) {
        return { sender: { name: heavier.name, isSuspect: false }, amount: heavier.amount };
      }
      // For others, the worst suspect, whatever it holds; for a suspect, only one that holds more.
      const worst = heavier ? suspects.heaviest() : to.isSuspect && heavierIn(suspects, to.name, more);
      if (!worst) return undefined;
      const own = 'amount' in worst ? worst.amount : worst.held - worst.next;
      return { sender: { name: worst.name, isSuspect: true }, amount: Math.min(own, heavier?.amount ?? own) };
    },
    yielding: (to) => Math.max(beyond(all, groupOf(to)), to.isSuspect ? beyond(suspects, to.name) : 0),
  };
}
