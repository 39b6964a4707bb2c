/** What is known of credentials in dispute, kept in the store for tasks that start later. It holds fingerprints, no keys. */
import { isObject } from '../common/json.ts';
import { within } from '../common/pause.ts';
import type { Keeper, Log } from '../ports.ts';
import type { Dispute, Disputes, Owners } from './ssm-owners.ts';

/** Boot may wait this long: a task has to serve within 3 s. */
const READ_MS = 2_000;
const LIMIT_CHARACTERS = 1024 * 1024;

export type OwnerRecord = ReturnType<typeof createOwnerRecord>;

/** Without a keeper nothing is kept. */
export function createOwnerRecord({
  keeper,
  owners,
  log,
}: {
  readonly keeper: Keeper | undefined;
  readonly owners: Pick<Owners, 'adopt' | 'disputes' | 'undecided'>;
  readonly log: Log;
}) {
  let isLearnt = false;
  let stored = '{}';
  let failed = false;
  let reading: Promise<Disputes | undefined> | undefined;
  let writing: Promise<void> | undefined;

  /** Logs the first of several failures. */
  async function attempt<T>(verb: string, run: () => Promise<T>): Promise<T | undefined> {
    try {
      const result = await run();
      failed = false;
      return result;
    } catch (error) {
      if (!failed) {
        log.warn(`Could not ${verb} the record of which environment had a key first; retrying`, {
          reason: (error as Error).message,
          runbook: 'operations.md#store-down',
        });
      }
      failed = true;
      return undefined;
    }
  }

  async function load(): Promise<Disputes> {
    const bytes = await keeper?.read();
    stored = bytes === undefined ? '{}' : Buffer.from(bytes).toString();
    try {
      return parseDisputes(stored);
    } catch (error) {
      // It is replaced by the next write.
      log.warn('Ignoring the record of which environment had a key first', {
        reason: (error as Error).message,
        runbook: 'operations.md#store-down',
      });
      return {};
    }
  }

  /** The store's entries stay for what is undecided here. */
  async function write(disputes: Disputes, undecided: ReadonlySet<string>): Promise<void> {
    const before = await load();
    const others = Object.entries(before).filter(([print]) => undecided.has(print));
    const text = textOf({ ...Object.fromEntries(others), ...disputes });
    if (text === stored) return;
    await keeper?.write(Buffer.from(text));
    stored = text;
  }

  /** What the store holds; undefined when it does not answer in time. */
  async function read(): Promise<Disputes | undefined> {
    reading ??= attempt('read', load).finally(() => {
      reading = undefined;
    });
    return within(READ_MS, reading);
  }

  return {
    /** Adopts what earlier tasks and other relays know, if that has not been read yet or something is undecided. Never rejects. */
    async learn(now: number): Promise<void> {
      if (isLearnt && owners.undecided().size === 0) return;
      const disputes = await read();
      if (disputes === undefined) return;
      owners.adopt(disputes, isLearnt ? 'undecided' : 'all', now);
      isLearnt = true;
    },

    /** Stores what is known here, in the background. Never throws. */
    keep(): void {
      // A record that was not read must not be overwritten.
      const disputes = owners.disputes();
      if (keeper === undefined || !isLearnt || writing !== undefined || textOf(disputes) === stored) return;
      writing = attempt('store', () => write(disputes, owners.undecided())).finally(() => {
        writing = undefined;
      });
    },

    /** Waits for a write in progress. */
    async close(): Promise<void> {
      await writing;
    },
  };
}

/** Equal for equal disputes. */
function textOf(disputes: Disputes): string {
  return JSON.stringify(Object.fromEntries(Object.entries(disputes).sort(([a], [b]) => (a < b ? -1 : 1))));
}

/** Invalid entries are left out. Throws if the text is not a JSON object. */
function parseDisputes(text: string): Disputes {
  if (text.length > LIMIT_CHARACTERS)
    throw new Error(`it has ${text.length} characters, more than ${LIMIT_CHARACTERS}`);
  const value: unknown = JSON.parse(text);
  if (!isObject(value)) throw new Error('it is not a JSON object');
  return Object.fromEntries(
    Object.entries(value).flatMap(([print, dispute]) => {
      const parsed = disputeOf(dispute);
      return parsed === undefined ? [] : [[print, parsed]];
    }),
  );
}

function disputeOf(value: unknown): Dispute | undefined {
  if (!isObject(value)) return undefined;
  const { owner, key, later, missingSince } = value;
  if (typeof owner !== 'string' || !Array.isArray(later) || !later.every((name) => typeof name === 'string')) {
    return undefined;
  }
  return {
    owner,
    ...(typeof key === 'string' && { key }),
    later,
    ...(typeof missingSince === 'number' && { missingSince }),
  };
}
