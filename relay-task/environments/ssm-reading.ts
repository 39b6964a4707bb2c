import type { Log } from '../ports.ts';
import type { Delivery } from './ssm-delivery.ts';
import type { SsmMemory } from './ssm-memory.ts';
import type { OwnerRecord } from './ssm-owner-record.ts';
import type { Decrypted, Decryption, SsmReader } from './ssm-reader.ts';

/**
 * Reads everything that changed in SSM into the memory, and delivers it: what was read so far, then the whole. Rejects if nothing
 * can be decrypted.
 */
export async function readInto(
  memory: SsmMemory,
  {
    reader,
    record,
    delivery,
    log,
    path,
    now,
  }: {
    readonly reader: SsmReader;
    readonly record: OwnerRecord;
    readonly delivery: Delivery;
    readonly log: Log;
    readonly path: string;
    now(): number;
  },
) {
  const listed = await reader.list();
  const wanted = [...memory.wanted(listed)].sort((a, b) => rankOf(a) - rankOf(b));
  /** What needs no decryption, such as a revocation, is in force at once, and what was read goes first. */
  const deliverWhatIsRead = (soFar: Decrypted) => {
    const awaited = new Set(wanted.filter((name) => !soFar.has(name)));
    memory.apply(listed, { decrypted: soFar, controls: new Map(), awaited }, now());
    if (delivery.hasBegun() || canServe(memory)) delivery.deliver({ now: now(), partial: true });
  };
  if (delivery.hasBegun() && wanted.length > 0) deliverWhatIsRead(new Map());
  await record.learn(now());
  const decrypted = await reader.decrypt(wanted, deliverWhatIsRead);
  const controls = await reader.decrypt(memory.controls(listed, decrypted));
  const at = now();
  memory.apply(listed, { decrypted, controls }, at);
  for (const name of memory.takeUnknown())
    log.warn('Ignoring unknown SSM parameter', {
      parameter: `${path}/${name}`,
      runbook: 'operations.md#ssm-parameters',
    });
  const outage = outageIn([...decrypted.values(), ...controls.values()]);
  const isFirst = !delivery.hasBegun();
  // Without any key there is nothing to serve, and no credential may count as unknown.
  if (outage !== undefined && isFirst && !canServe(memory)) throw new Error(outage);
  const { environments, unconfirmed } = delivery.deliver({ now: at, partial: false });
  record.keep();
  if (outage !== undefined) throw new Error(outage);
  const complete = ![...decrypted.values()].some((one) => 'failed' in one);
  return { at, environments, isFirst, unconfirmed, complete };
}

/** The order of decryption: SDK keys first, since nothing is served without them, then mobile keys, then the rest. */
function rankOf(name: string): number {
  const order = ['sdk-key', 'previous-sdk-key', 'mobile-key'];
  const rank = order.indexOf(name.slice(name.lastIndexOf('/') + 1));
  return rank < 0 ? order.length : rank;
}

/** Why nothing can be decrypted, not even what could be before; undefined: something can, or nothing was tried. */
function outageIn(decryptions: readonly Decryption[]): string | undefined {
  const [first] = decryptions;
  if (first === undefined || decryptions.some((one) => 'text' in one)) return undefined;
  return 'failed' in first ? first.failed : (first as { refused: string }).refused;
}

/** Whether an environment has an SDK key, or needs none. */
function canServe(memory: SsmMemory): boolean {
  return [...memory.environments().values()].some(
    (parameters) => parameters.get('sdk-key')?.text !== undefined || parameters.has('flags-file'),
  );
}
