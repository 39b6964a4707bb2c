/**
 * Random schedules of key operations, faults and restarts with three relays on one store. Every answer that any client gets is
 * judged by rules that know nothing of the code: data of its own environment or 503, and no final 4xx for a good key. In the
 * end, and in between, faults end and every good key gets its own environment's newest data from all relays.
 * `SEED=<n>` runs one schedule, `SEED=<n>-<m>` some, `LONG=1` many. A failure names the seed and the steps.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { eventually, turnsOfLoop } from '../../support/eventually.ts';
import { allToTheirEnd, seedsInGroups } from '../store/random-relays.ts';
import { seededRandom } from '../store/seeded-random.ts';
import { type Clients, startClients } from './clients.ts';
import { type Member, openMember, openStore, storeNames } from './fleet.ts';
import { type Choices, operations } from './operations.ts';
import { objectionTo, settledAnswer } from './oracle.ts';
import { createWorld, environments, type SourceName, type World } from './world.ts';

/** SSM has most rules. */
const sources: readonly SourceName[] = ['SSM', 'auto-configuration', 'SSM', 'archive', 'SSM', 'configuration'];
const ROUNDS = process.env.LONG ? 2 : 1;
const STEPS = 7;

const counts = { schedules: 0, answers: 0 };
/** A long run tells of failures at once, not only at its end. */
const tell = (what: unknown) => void (process.env.LONG && process.stdout.write(`${JSON.stringify(what)}\n`));

interface Schedule extends Choices {
  readonly world: World;
  readonly members: readonly Member[];
  readonly clients: Clients;
  readonly done: string[];
}

async function operate({ world, members, pick, done, ...choices }: Schedule): Promise<void> {
  const name = pick(Object.keys(operations));
  if (!operations[name]!(world, { pick, ...choices })) return;
  done.push(name);
  world.record();
  await Promise.all(members.map((member) => member.hear()));
}

/** One step. More often than not a change of keys. */
async function step(schedule: Schedule): Promise<void> {
  const { random, pick, members, world, done } = schedule;
  const member = pick(members);
  const roll = random();
  if (roll < 0.5) await operate(schedule);
  else if (roll < 0.75) {
    const name = pick(Object.keys(member.faults));
    done.push(`${name}(${member.number})`);
    // What happens to LaunchDarkly or to the store mostly happens to all.
    for (const one of random() < 0.5 ? members : [member]) await one.faults[name]?.();
  } else if (roll < 0.85) {
    const how = pick(['orderly', 'killed'] as const);
    done.push(`${how}(${member.number})`);
    await member.restart(how);
  } else if (roll < 0.9) {
    done.push(`lag(${member.number})`);
    member.lag();
  } else if (roll < 0.95) {
    done.push(`heal(${member.number})`);
    await member.heal();
  } else {
    const environment = pick(environments);
    done.push(`change(${environment})`);
    world.change(environment);
    if (world.source === 'archive') world.record();
    await Promise.all(members.map((one) => (world.source === 'archive' ? one.hear() : one.changed(environment))));
  }
  await delay(random() < 0.5 ? 0 : random() * 400);
  expect(schedule.clients.objections).toEqual([]);
}

/** All faults end; every relay answers what the rules say for the present state. */
async function settle({ world, members, clients, done }: Schedule): Promise<void> {
  done.push('settle');
  world.record();
  await Promise.all(members.map((member) => member.heal()));
  if (world.source === 'configuration') for (const member of members) await member.restart('orderly');
  for (const credential of world.credentials) {
    const wanted = settledAnswer(world, credential);
    await eventually(async () => {
      for (const member of members) {
        const answer = await clients.ask(member, credential);
        const asked = { ...credential, relay: member.number };
        if (wanted === undefined) {
          // What was replaced keeps its data until the relay has read that twice.
          const now = { ...member.knowledge, oldest: member.knowledge.newest };
          expect({ ...asked, objection: answer && objectionTo(world, now, answer) }).toEqual(asked);
          continue;
        }
        const { status, body } = answer ?? {};
        const got = status === 200 ? body : status === 401 || status === 404 ? 'final' : status;
        const expected = wanted === 503 || wanted === 'final' ? wanted : expect.stringContaining(wanted);
        expect({ ...asked, got }).toEqual({ ...asked, got: expected });
      }
    });
  }
  // Streams of credentials that open nothing any more were closed.
  await eventually(() => {
    for (const member of members) {
      const left = clients.open(member).filter((credential) => settledAnswer(world, credential) === 'final');
      expect(left).toEqual([]);
    }
  });
  // Clients read what relays have sent so far: both are in this process.
  await turnsOfLoop(50);
  clients.judgeStreams();
  for (const member of members) member.settled();
  expect(clients.objections).toEqual([]);
}

async function runSchedule(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  // Every third time that all sources had their turn, by FDv2.
  const protocol = Math.floor(seed / sources.length) % 3 === 1 ? 'fdv2' : 'fdv1';
  const world = createWorld(sources[seed % sources.length]!, random() < 0.5, protocol);
  const storeName = pick(storeNames);
  const store = await openStore(storeName);
  const members = await Promise.all([0, 1, 2].map((number) => openMember(world, store, number, { random, pick })));
  const clients = startClients(world, members);
  const done: string[] = [];
  const schedule: Schedule = { world, members, clients, done, random, pick };
  try {
    await settle(schedule);
    for (let round = 0; round < ROUNDS; round++) {
      for (let number = 0; number < STEPS; number++) await step(schedule);
      await settle(schedule);
    }
  } catch (error) {
    const { source, sendsIds, folders } = world;
    const told = { seed, source, sendsIds, protocol, storeName, done: done.join(' '), folders };
    tell({ ...told, problem: String(error).slice(0, 1_500) });
    const lines = members.map(({ relay }) => (process.env.SEED ? relay?.lines.slice(-60) : undefined));
    throw new Error(`${JSON.stringify(told)}\n${error}\n${lines.map((one) => JSON.stringify(one)).join('\n')}`, {
      cause: error,
    });
  } finally {
    await clients.stop();
    await Promise.all(members.map((member) => member.close()));
    await store.close();
    counts.schedules += 1;
    counts.answers += clients.judged;
  }
  expect(clients.objections).toEqual([]);
}

/** Two files run at once; each has every second seed. */
export function testSchedules(half: 'odd' | 'even'): void {
  const groups = seedsInGroups({ ordinary: 2, long: 500, atOnce: 1 });
  const mine = groups.filter(([seed = 0]) => (seed % 2 === 1) === (half === 'odd'));
  afterAll(() => tell(counts));
  // With `SEED=<n>` one of the two has none.
  if (mine.length === 0) test('there is no schedule to run', () => {});
  test.each(mine.map((group) => [group.join(', '), group] as const))(
    `in the schedules %s no client gets anything but its own environment’s data or 503, and no good key a final 4xx${half === 'odd' ? ' @heavy' : ''}`,
    async (_, group) => {
      await allToTheirEnd(group.map(runSchedule));
    },
  );
}
