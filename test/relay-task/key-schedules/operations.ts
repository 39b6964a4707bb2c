/** The random changes of keys and environments. Each changes what the source is about to say; none touches a server. */
import { addFolder, environments, type Folder, type World } from './world.ts';

export interface Choices {
  random(): number;
  pick<T>(list: readonly T[]): T;
}

/** Returns false where it does not apply, and then nothing has changed. */
export type Operation = (world: World, choices: Choices) => boolean;

/** Environments that have their SDK key, so that the operations start from something that works. */
const whole = ({ folders }: World) => folders.filter(({ gone }) => Object.keys(gone).length === 0);

function two(world: World, { pick }: Choices): [Folder, Folder] | undefined {
  const a = pick(whole(world));
  const b = pick(whole(world).filter((folder) => folder !== a));
  return a && b ? [a, b] : undefined;
}

/** Two folders with one SDK key have one environment's data, and the rules of keys in two places are tested elsewhere. */
function usesAlone({ folders }: World, folder: Folder): boolean {
  return folders.every((one) => one === folder || one.sdkKey !== folder.sdkKey);
}

function drop(world: World, folder: Folder): void {
  world.folders.splice(world.folders.indexOf(folder), 1);
}

const namedById = ({ source }: World) => source === 'auto-configuration' || source === 'archive';

/** The present key becomes one in its grace time, until then. */
function retire(folder: Folder, until: number): void {
  folder.previous = [...folder.previous.filter((one) => one.until > Date.now()), { sdkKey: folder.sdkKey, until }];
}

/** What an SDK key of another environment that replaces this one may have to do with it. */
function replaceKey(world: World, folder: Folder, environment: string): void {
  // Only a reset key ends at LaunchDarkly; one that was a mistake stays valid there.
  if (world.environmentOf(folder.sdkKey) === environment) world.end(folder.sdkKey);
  folder.sdkKey = world.make('sdkKey', environment);
}

const homeOf = (world: World, { clientId, sdkKey, name }: Folder) =>
  world.environmentOf(namedById(world) ? name : (clientId ?? sdkKey));

const hasGrace = ({ source }: World) => source !== 'configuration';

export const operations: Readonly<Record<string, Operation>> = {
  add(world, { pick }) {
    if (world.folders.length > 4) return false;
    addFolder(world, pick(environments));
    return true;
  },
  remove(world, { pick }) {
    const folder = pick(whole(world));
    if (!folder || whole(world).length < 3) return false;
    if (world.source !== 'SSM') drop(world, folder);
    else {
      const number = world.states.length;
      folder.gone = { sdkKey: number, mobileKey: number, environmentId: number };
    }
    return true;
  },
  /** The same keys under another name. */
  rename(world, { pick }) {
    const folder = pick(whole(world));
    if (!folder) return false;
    if (namedById(world)) {
      if (world.source === 'archive') return false;
      folder.clientId = world.make('environmentId', homeOf(world, folder));
      folder.name = folder.clientId;
    } else folder.name = `${folder.name}x`;
    return true;
  },
  rotateWithGrace(world, { pick, random }) {
    const folder = pick(whole(world));
    if (!folder || !hasGrace(world)) return false;
    retire(folder, Date.now() + pick([400, 1_500, 3_600_000]) * (1 + random()));
    folder.sdkKey = world.make('sdkKey', world.environmentOf(folder.sdkKey));
    return true;
  },
  rotateAtOnce(world, { pick }) {
    const folder = pick(whole(world));
    if (!folder) return false;
    replaceKey(world, folder, world.environmentOf(folder.sdkKey));
    return true;
  },
  endGrace(world, { pick }) {
    const folder = pick(whole(world).filter(({ previous }) => previous.length > 0));
    if (!folder || world.source === 'SSM') return false;
    folder.previous = folder.previous.map((one) => ({ ...one, until: Math.min(one.until, Date.now() + 1) }));
    return true;
  },
  revoke(world, { pick }) {
    const folder = pick(whole(world).filter((one) => usesAlone(world, one)));
    if (!folder) return false;
    world.end(folder.sdkKey);
    if (world.source === 'SSM') folder.revoked = [...folder.revoked, folder.sdkKey];
    folder.sdkKey = world.make('sdkKey', homeOf(world, folder));
    return true;
  },
  /** A key of another environment by mistake, with or without a grace time for the one before. */
  mistake(world, { pick, random }) {
    const folder = pick(whole(world));
    if (!folder) return false;
    const other = pick(environments.filter((environment) => environment !== homeOf(world, folder)));
    if (hasGrace(world) && random() < 0.3) retire(folder, Date.now() + 3_600_000);
    folder.sdkKey = world.make('sdkKey', other);
    // Sometimes all values are those of the other environment.
    if (random() < 0.3) folder.mobileKey = world.make('mobileKey', other);
    return true;
  },
  correct(world, { pick, random }) {
    const wrong = whole(world).filter((folder) => world.environmentOf(folder.sdkKey) !== homeOf(world, folder));
    const folder = pick(wrong);
    if (!folder) return false;
    if (hasGrace(world) && random() < 0.3) retire(folder, Date.now() + 3_600_000);
    folder.sdkKey = world.make('sdkKey', homeOf(world, folder));
    return true;
  },
  /** The values before a mistake are put back, also before the wrong key delivered anything. */
  undo(world, { pick }) {
    const folder = pick(whole(world));
    if (!folder) return false;
    const { name, revoked } = folder;
    const before = world.states.at(-2)?.find((one) => one.name === name);
    if (!before || before.sdkKey === folder.sdkKey || Object.keys(before.gone).length > 0) return false;
    if (!world.accepts(before.sdkKey) || revoked.includes(before.sdkKey)) return false;
    const others = world.folders.filter((one) => one !== folder);
    if (others.some(({ sdkKey, mobileKey }) => sdkKey === before.sdkKey || mobileKey === before.mobileKey))
      return false;
    folder.sdkKey = before.sdkKey;
    folder.mobileKey = before.mobileKey;
    folder.previous = before.previous;
    return true;
  },
  swapSdkKeys(world, choices) {
    const [a, b] = two(world, choices) ?? [];
    if (!a || !b) return false;
    [a.sdkKey, b.sdkKey] = [b.sdkKey, a.sdkKey];
    return true;
  },
  /** One environment's SDK key goes to another one, and the first gets a new one. */
  moveSdkKey(world, choices) {
    const [a, b] = two(world, choices) ?? [];
    if (!a || !b) return false;
    b.sdkKey = a.sdkKey;
    a.sdkKey = world.make('sdkKey', homeOf(world, a));
    return true;
  },
  swapMobileKeys(world, choices) {
    const [a, b] = two(world, choices) ?? [];
    if (!a || !b) return false;
    [a.mobileKey, b.mobileKey] = [b.mobileKey, a.mobileKey];
    return true;
  },
  moveMobileKey(world, choices) {
    const [a, b] = two(world, choices) ?? [];
    if (!a || !b) return false;
    b.mobileKey = a.mobileKey;
    a.mobileKey = world.make('mobileKey', homeOf(world, a));
    return true;
  },
  newMobileKey(world, { pick }) {
    const folder = pick(whole(world));
    if (!folder) return false;
    folder.mobileKey = world.make('mobileKey', homeOf(world, folder));
    return true;
  },
  swapClientIds(world, choices) {
    const [a, b] = two(world, choices) ?? [];
    if (!a || !b || namedById(world)) return false;
    [a.clientId, b.clientId] = [b.clientId, a.clientId];
    return true;
  },
  /** A new SDK key and a new mobile key in one change, as for an environment that was made again. */
  replaceAll(world, { pick }) {
    const folder = pick(whole(world));
    if (!folder) return false;
    const home = homeOf(world, folder);
    folder.sdkKey = world.make('sdkKey', home);
    folder.mobileKey = world.make('mobileKey', home);
    return true;
  },
  /** A key's parameter is deleted, which is no revocation; only SSM has it. */
  loseMobileKey(world, { pick }) {
    const folder = pick(whole(world));
    if (!folder || world.source !== 'SSM') return false;
    folder.gone = { mobileKey: world.states.length };
    return true;
  },
  putBack(world, { pick }) {
    const folder = pick(world.folders.filter(({ gone }) => Object.keys(gone).length > 0));
    if (!folder) return false;
    folder.gone = {};
    return true;
  },
};
