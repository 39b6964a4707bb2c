/** Relay processes between a front door and a LaunchDarkly that takes events, with the ledger that holds them to account. */
import { eventually, until } from '../eventually.ts';
import { exampleFile } from '../example-environment.ts';
import { closeAfterEach } from '../opened.ts';
import { type Random, randomFrom } from '../random.ts';
import type { RunOptions } from '../relay-process.ts';
import { type FrontDoor, startFrontDoor } from './front-door.ts';
import { type Balance, createLedger, type Ledger } from './ledger.ts';
import { type EventReceiver, startEventReceiver } from './receiver.ts';
import { droppedBy, inAll, type Life, startLife, type Told } from './relay-lives.ts';

export const shop = {
  environment: 0,
  sdkKey: 'sdk-00000000-1111-2222-3333-444455556666',
  mobileKey: 'mob-00000000-1111-2222-3333-444455556666',
  environmentId: '0123456789abcdef01234567',
};
export const other = { environment: 1, sdkKey: 'sdk-99999999-1111-2222-3333-444455556666' };

/** Both environments from one flags file. */
const variables = {
  ...{ LD_ENV_shop: shop.sdkKey, LD_MOBILE_KEY_shop: shop.mobileKey, LD_CLIENT_SIDE_ID_shop: shop.environmentId },
  ...{ LD_ENV_other: other.sdkKey, LD_FLAGS_FILE_shop: exampleFile, LD_FLAGS_FILE_other: exampleFile },
};

/** What is to be seen of events everywhere, once nothing moves. */
export interface Account extends Balance, Told {
  readonly allDropped: number;
}

/** What one relay did with the events that it accepted. */
export interface Book {
  readonly life: Life;
  readonly how: 'alive' | 'ended in order' | 'killed';
  /** Of a killed one: just before that. */
  readonly told: Told;
}

export interface EventsSite {
  readonly ledger: Ledger;
  readonly receiver: EventReceiver;
  readonly door: FrontDoor;
  readonly random: Random;
  /** Those that are alive. */
  readonly lives: ReadonlySet<Life>;
  /** Starts a relay, which gets requests from now on. */
  begin(more?: Record<string, string>, options?: RunOptions): Promise<Life>;
  /** Takes a relay from the front door and ends it in order; resolves with its exit code. */
  stop(life: Life): Promise<number | null>;
  /** Ends it at once, in the middle of what it does. */
  kill(life: Life): Promise<void>;
  /** Of all relays so far. */
  books(): Promise<readonly Book[]>;
  /** Waits until relays have nothing to send. */
  settled(): Promise<void>;
  /** The account once that is so. */
  account(): Promise<Account>;
}

/** Call it once at the top of a test file; returns what opens a site, which is closed after the test. */
export function sitesOfTests() {
  const { opened, behind } = closeAfterEach();

  return async function openSite({
    seed,
    events,
    configuration = variables,
    environments = {},
  }: {
    readonly seed: string;
    /** The most that there will be. */
    readonly events: number;
    /** Of relays; by default both environments from a file. */
    readonly configuration?: Readonly<Record<string, string>>;
    /** The environments of further keys. */
    readonly environments?: Readonly<Record<string, number>>;
  }): Promise<EventsSite> {
    const ledger = createLedger(events);
    const receiver = opened(
      await startEventReceiver(ledger, {
        ...{ [shop.sdkKey]: shop.environment, [shop.mobileKey]: shop.environment },
        ...{ [shop.environmentId]: shop.environment, [other.sdkKey]: other.environment },
        ...environments,
      }),
    );
    const door = opened(await startFrontDoor(ledger));
    const lives = new Set<Life>();
    const closed: Book[] = [];
    let begun = 0;

    const site: EventsSite = {
      ...{ ledger, receiver, door, lives, random: randomFrom(seed) },
      async begin(more = {}, options = {}) {
        const index = begun++;
        const EVENTS_HOST = receiver.uriFor(index);
        const life = await startLife(index, { ...configuration, EVENTS_HOST, ...more }, options);
        behind(() => life.end('SIGKILL'));
        lives.add(life);
        door.relays.add(life);
        return life;
      },
      async stop(life) {
        door.relays.delete(life);
        const code = await life.end('SIGTERM');
        lives.delete(life);
        closed.push({ life, how: 'ended in order', told: life.told() });
        return code;
      },
      async kill(life) {
        const told = await life.scrape();
        await life.end('SIGKILL');
        lives.delete(life);
        door.relays.delete(life);
        closed.push({ life, how: 'killed', told });
      },
      async books() {
        const open = Array.from(lives, async (life) => ({ life, how: 'alive' as const, told: await life.scrape() }));
        return [...closed, ...(await Promise.all(open))];
      },
      async settled() {
        await until('the front door to have all answers', () => door.underWay === 0);
        for (const life of lives)
          await eventually(async () => expect(await life.scrape()).toMatchObject({ queueBytes: 0 }));
      },
      async account() {
        await site.settled();
        const told = inAll((await site.books()).map((book) => book.told));
        expect(receiver.complaints).toEqual([]);
        return { ...ledger.balance(), ...told, allDropped: droppedBy(told) };
      },
    };
    return site;
  };
}
