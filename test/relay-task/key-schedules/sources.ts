/** The sources of keys, each with a server or file of its own for each relay, so that one relay can lag behind. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Variables } from '../../../relay-task/config/config.ts';
import { fingerprintOf } from '../../../relay-task/environments/ssm-parameters.ts';
import { packArchive } from '../../support/archive.ts';
import { environmentRep, type FakeAutoConfig } from '../../support/fake-auto-config.ts';
import { autoConfigKey } from '../../support/rotating-sources.ts';
import { startSsmServer } from '../../support/ssm-server.ts';
import type { Choices } from './operations.ts';
import type { Folder, State, World } from './world.ts';

/** What one relay is told. */
export interface Source {
  /** For a relay that starts now. */
  variables(): Variables | Promise<Variables>;
  /** Says this from now on; a relay hears of it by itself, unless only a restart tells it. */
  say(state: State): Promise<void>;
  readonly faults: Readonly<Record<string, () => void>>;
  heal(): void;
  close(): Promise<void>;
}

export async function openSource(world: World, launchDarkly: FakeAutoConfig, choices: Choices): Promise<Source> {
  const open = {
    SSM: () => openSsm(choices),
    'auto-configuration': async () => openAutoConfig(launchDarkly),
    archive: () => openArchive(world),
    configuration: async () => openConfiguration(),
  }[world.source];
  const source = await open();
  await source.say(world.states.at(-1)!);
  return source;
}

async function openSsm({ pick, random }: Choices): Promise<Source> {
  const ssm = await startSsmServer();
  /** Takes effect when the next listing begins: a listing of several pages is no snapshot, which has tests of its own. */
  let pending: (() => void) | undefined;
  ssm.before(({ operation, continued }) => {
    if (operation !== 'GetParametersByPath' || continued) return;
    pending?.();
    pending = undefined;
  });
  const anyName = () => pick([...ssm.parameters.keys()]) ?? '/relay/none/sdk-key';
  return {
    variables: () => ({ KEYS_FROM_SSM: '/relay', SSM_URL: ssm.endpoint }),
    async say(state) {
      const wanted = new Map(state.flatMap(parametersOf));
      pending = () => {
        for (const name of [...ssm.parameters.keys()]) if (!wanted.has(name)) ssm.delete(name);
        for (const [name, value] of wanted) if (ssm.parameters.get(name)?.value !== value) ssm.put(name, value);
      };
      if (ssm.parameters.size > 0) return;
      pending();
      pending = undefined;
    },
    faults: {
      ssmIsDown: ssm.down,
      ssmThrottles: () => ssm.throttle(3 + Math.floor(random() * 10)),
      ssmHangs: () => ssm.hang(),
      ssmDeniesAll: () => ssm.deny(),
      ssmCannotDecryptOne: () => ssm.forbid(anyName()),
      ssmCannotDecryptAFolder() {
        const [, , folder] = anyName().split('/');
        ssm.forbid(...[...ssm.parameters.keys()].filter((name) => name.startsWith(`/relay/${folder}/`)));
      },
      ssmBreaksOne: () => ssm.break(anyName()),
    },
    heal: ssm.heal,
    close: ssm.close,
  };
}

function parametersOf({ name, sdkKey, previous, mobileKey, clientId, gone, revoked }: Folder): [string, string][] {
  const grace = previous.at(-1);
  const all = {
    'previous-sdk-key': gone.sdkKey === undefined ? grace?.sdkKey : undefined,
    'previous-sdk-key-until': gone.sdkKey === undefined && grace ? new Date(grace.until).toISOString() : undefined,
    'sdk-key': gone.sdkKey === undefined ? sdkKey : undefined,
    'mobile-key': gone.mobileKey === undefined ? mobileKey : undefined,
    'client-side-id': gone.environmentId === undefined ? clientId : undefined,
    revoked: revoked.length > 0 ? revoked.map(fingerprintOf).join(',') : undefined,
  };
  return Object.entries(all).flatMap(([parameter, value]) =>
    value === undefined ? [] : [[`/relay/${name}/${parameter}`, value]],
  );
}

function recordOf({ name, sdkKey, previous, mobileKey }: Folder, version: number) {
  const grace = previous.at(-1);
  return environmentRep(name, version, {
    envName: name,
    mobKey: mobileKey,
    sdkKey: { value: sdkKey, ...(grace && { expiring: { value: grace.sdkKey, timestamp: Math.floor(grace.until) } }) },
  });
}

function openAutoConfig(fake: FakeAutoConfig): Source {
  let version = 0;
  return {
    variables: () => ({ AUTO_CONFIG_KEY: autoConfigKey, ENV_DATASTORE_PREFIX: '$CID' }),
    async say(state) {
      version += 1;
      for (const name of Object.keys(fake.environments)) delete fake.environments[name];
      for (const folder of state) fake.environments[folder.name] = recordOf(folder, version);
      await fake.put();
    },
    faults: {},
    heal() {},
    close: async () => {},
  };
}

async function openArchive(world: World): Promise<Source> {
  const directory = mkdtempSync(join(tmpdir(), 'key-schedule-'));
  const path = join(directory, 'flags.tar.gz');
  let version = 0;
  let present: State = [];
  async function say(state: State): Promise<void> {
    present = state;
    version += 1;
    const archived = state.map((folder) => {
      const environment = world.environmentOf(folder.name);
      const dataId = `${folder.name}-${world.versionOf(environment)}`;
      return [folder.name, { env: recordOf(folder, version), dataId, data: world.dataOf(environment) }] as const;
    });
    writeFileSync(`${path}.new`, await packArchive(Object.fromEntries(archived)));
    renameSync(`${path}.new`, path);
  }
  return {
    async variables() {
      // No relay starts with an archive that is broken.
      await say(present);
      return { FILE_DATA_SOURCE: path, FILE_DATA_SOURCE_MONITORING_INTERVAL: '100ms', ENV_DATASTORE_PREFIX: '$CID' };
    },
    say,
    faults: { archiveIsBroken: () => writeFileSync(path, 'no archive') },
    heal() {},
    close: async () => rmSync(directory, { recursive: true }),
  };
}

function openConfiguration(): Source {
  let present: State = [];
  return {
    variables: () =>
      Object.fromEntries(
        present.flatMap(({ name, sdkKey, mobileKey, clientId }) => [
          [`LD_ENV_${name}`, sdkKey],
          [`LD_PREFIX_${name}`, name],
          ...(mobileKey === undefined ? [] : [[`LD_MOBILE_KEY_${name}`, mobileKey]]),
          ...(clientId === undefined ? [] : [[`LD_CLIENT_SIDE_ID_${name}`, clientId]]),
        ]),
      ),
    async say(state) {
      present = state;
    },
    faults: {},
    heal() {},
    close: async () => {},
  };
}
