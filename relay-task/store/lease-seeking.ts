/** What a task does about the lease while it does not hold it. */
import { absent, exactly } from './conditions.ts';
import { decide, type Term } from './lease-decision.ts';
import { claimOn, firstHead, headKey, takeover } from './lease-head.ts';
import type { HoldingOptions, LeaseHolding } from './lease-holding.ts';
import type { Sightings } from './lease-sight.ts';

/** Returns a function that reads the head and does what `decide` says. */
export function createLeaseSeeking(
  options: HoldingOptions,
  sightings: Sightings,
  { state, begin, renew }: LeaseHolding,
): () => Promise<void> {
  const { table, prefix, owner, clock, timings } = options;
  const key = headKey(prefix);
  let claims = 0;

  async function acquire(term: Term, beat: number, request: () => Promise<unknown>): Promise<void> {
    state.attempted = term;
    const sentAt = clock.now();
    if (await request()) begin(term, beat, sentAt);
  }

  return async () => {
    const attributes = await table.get(key, { consistent: false });
    if (state.closed) return;
    const action = decide(sightings.see(attributes), state, clock.now(), timings);
    switch (action.kind) {
      case 'wait':
        return;
      case 'create': {
        const term: Term = { epoch: clock.wall(), start: action.replacing ? 'expired' : 'created' };
        const head = firstHead(prefix, { ...term, owner }, options.checkedAt());
        const condition = action.replacing && attributes ? exactly(attributes) : absent;
        return acquire(term, 1, () => table.put('head', head, condition));
      }
      case 'take': {
        const { head, start } = action;
        const epoch = Math.max(head.epoch + 1, clock.wall());
        return acquire({ epoch, start }, head.beat + 1, () =>
          table.update('head', key, takeover(head, { owner, epoch })),
        );
      }
      case 'claim':
        claims += 1;
        await table.update('head', key, claimOn(action.head, `${owner} ${claims}`));
        return;
      case 'resume': {
        // Its first renewal proves that the takeover went through.
        const { epoch, beat } = action.head;
        begin({ epoch, start: state.attempted?.start ?? 'expired' }, beat, clock.now() - timings.stopMs);
        await renew();
      }
    }
  };
}
