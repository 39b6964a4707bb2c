/** The engine alone, for what cannot be shown with a store that has no lease. */
import { type Engine, startEngine } from '../../../relay-task/store/engine.ts';
import { createGraves } from '../../../relay-task/store/graves.ts';
import { createReadMemory } from '../../../relay-task/store/read-memory.ts';
import { systemClock } from '../../../relay-task/store/timings.ts';
import { eventually } from '../../support/eventually.ts';
import { createMemory } from '../../support/memory.ts';
import { createFakeDatabase } from './fake-database.ts';
import { flag, flags } from './items.ts';
import { listenToLog, quickReplica, textsOfMemory } from './open-replicas.ts';

let engine: Engine | undefined;
afterEach(() => engine?.stop());

test('changes that were not written when the permission lapsed are written once it is renewed', async () => {
  const database = createFakeDatabase({ writes: 1, bytes: 1_000_000 });
  const memory = createMemory(...flags(3));
  let granted = true;
  const permission = {
    granted: () => granted,
    expecting: () => true,
    elsewhere: () => false,
    contested: () => false,
  };
  engine = startEngine({
    graves: createGraves({ view: memory, clock: systemClock, timings: quickReplica }),
    readMemory: createReadMemory(),
    ...{ database, permission, clock: systemClock, log: listenToLog(), where: {} },
    // Only the change itself triggers a write.
    timings: { ...quickReplica, glanceMs: 3_600_000 },
    metrics: { differing() {}, published() {} },
    onOutcome() {},
  });
  memory.listen(engine);
  await engine.flush(60_000);
  database.calls.length = 0;
  database.after = (call) => {
    if (call.startsWith('apply')) granted = false;
  };
  memory.set(flag('flag-0', 2), flag('flag-1', 2), flag('flag-2', 2));
  await eventually(() => expect(granted).toBe(false));
  database.after = () => {};
  granted = true;
  engine.wake();
  await eventually(() => expect(database.texts()).toEqual(textsOfMemory(memory)));
});
