import { inLines } from '../../lambda/edge-router/check-config.ts';
import { holdsKey } from '../../relay-task/common/secrets.ts';
import { commandText } from '../command-text.ts';
import { checkStage } from './check-stage.ts';
import { certifies } from './hosted-zone.ts';
import { defaultZones } from './regions.ts';
import { describeStageName, eventVariables, METRICS_PORT } from './relay-contract.ts';
import type { Network, Relay, Stage } from './stage.ts';
import { isRecord, Problems, textsIn } from './stage-readers.ts';
import { readSettings } from './stage-schema.ts';
import type { AlarmSettings, RelaySettings, StageSettings } from './stage-settings.ts';

/**
 * Reads a stage file. Throws one Error that lists every problem: the property, its value and what was expected. A key in the
 * file is reported without being repeated.
 */
export function readStage(name: string, raw: unknown): Stage {
  const problems = new Problems();
  for (const [at, text] of textsIn(raw)) {
    if (holdsKey(text))
      problems.say(at, `${at || 'a name'} contains a key: store keys in SSM with ${commandText('keys', 'put')}`);
  }
  const wrong = describeStageName(name);
  if (wrong !== undefined) problems.say('stage', `its name ${wrong}`);
  const settings = readSettings(raw, '', problems);
  const required = settings && [settings.homeRegion, settings.replicaRegions, settings.tableName, settings.production];
  if (settings && required?.every((value) => value !== undefined)) {
    const stage = fill(name, settings);
    checkStage(stage, settings, problems);
    if (problems.list().length === 0) return stage;
  }
  throw new Error(`stage ${name}: ${inLines(problems.list().map((message) => ({ message })))}`);
}

function fill(name: string, settings: StageSettings): Stage {
  const { production } = settings;
  const relayRegions = settings.relayRegions ?? [];
  const network = (region: string): Network => ({
    cidr: '10.0.0.0/16',
    zones: defaultZones(region),
    nat: production ? 'per-zone' : 'none',
    ...defined(settings.networks?.[region] ?? {}),
  });
  const encryptionKeys = { ...settings.encryptionKeys, ...settings.relay?.encryptionKeys };
  const placed = new Set([settings.homeRegion, ...relayRegions, ...Object.keys(settings.networks ?? {})]);
  return {
    table: 'new',
    protected: false,
    environments: [],
    readerLayer: true,
    logRetentionDays: production ? 90 : 14,
    tags: {},
    ...defined(settings),
    name,
    relayRegions,
    networks: Object.fromEntries([...placed].map((region) => [region, network(region)])),
    relay: withEvents(fillRelay({ ...settings.relay, encryptionKeys }, production), settings),
    alarms: fillAlarms(settings.alarms),
  };
}

function fillAlarms(given: AlarmSettings = {}): Stage['alarms'] {
  const { emails = [], topics = [], ...alarms } = defined(given);
  return {
    pageEmails: emails,
    pageTopics: topics,
    thresholds: {},
    availabilityPercent: 99.99,
    ...alarms,
    emails,
    topics,
  };
}

/** Relays forward events if the edge has exposures. */
function withEvents(relay: Relay, { edge }: StageSettings): Relay {
  if (!edge?.exposures) return relay;
  return { ...relay, variables: { ...eventVariables, ...relay.variables } };
}

/** A relay's settings with their defaults. */
export function fillRelay(given: RelaySettings = {}, production: boolean): Relay {
  const { publicAccess, prometheus, ...relay } = given;
  const streamsPerTask = relay.streamsPerTask ?? 5_000;
  // Twice the expected streams, so that a zone can fail at the busiest hour.
  const tasks = Math.max(relay.tasks ?? 3, Math.ceil((2 * (relay.expectedStreams ?? 0)) / streamsPerTask));
  const certificates = relay.certificates ?? {};
  return {
    maxTasks: tasks * 4,
    cpu: production ? 4096 : 256,
    memoryMiB: production ? 16_384 : 1024,
    architecture: 'arm64',
    heartbeatSeconds: 30,
    idleTimeoutSeconds: 120,
    // Longer than INIT_TIMEOUT, for which readiness waits for LaunchDarkly.
    healthCheckGraceSeconds: 60,
    drain: 'quick',
    cpuTargetPercent: 50,
    loadBalancer: true,
    accessLogs: production && relay.loadBalancer !== false,
    logLevel: 'info',
    variables: {},
    secrets: {},
    encryptionKeys: {},
    ...defined(relay),
    ...(relay.eventsSpool && { variables: { ...eventVariables, ...relay.variables } }),
    certificates,
    streamsPerTask,
    tasks,
    ...(prometheus && { prometheus: { port: METRICS_PORT, ...defined(prometheus) } }),
    ...(publicAccess && {
      publicAccess: {
        certificates: certifies(publicAccess.hostedZone) ? {} : certificates,
        requestsPerFiveMinutes: 3_000,
        paths: [],
        ...defined(publicAccess),
      },
    }),
  };
}

/** Drops undefined members, which would hide a default. */
function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T;
}

/** Merges `cdk.json` or `-c` over the stage file: objects member by member, everything else as a whole. */
export function overlay(below: unknown, above: unknown): unknown {
  if (above === undefined) return below;
  if (!isRecord(below) || !isRecord(above)) return above;
  const names = new Set([...Object.keys(below), ...Object.keys(above)]);
  return Object.fromEntries([...names].map((name) => [name, overlay(below[name], above[name])]));
}
