/** From everything that was given to one Config. */

import type { Findings } from '../common/findings.ts';
import { assembleOtlp } from './assemble-otlp.ts';
import { assembleStores } from './assemble-stores.ts';
import type { Gathered, Pieces } from './gather.ts';
import { withoutIdleSettings } from './idle-settings.ts';
import { namesOf, type Place } from './places.ts';
import { readPiece, readSetting, understood } from './read-settings.ts';
import { type Setting, type SettingTable, type Values, valuesOf } from './setting.ts';
import { environmentSettings, filterSettings, settings } from './settings.ts';

/** The whole configuration, checked, as the tables of settings describe it. Durations in ms, sizes in bytes. */
export type Config = ReturnType<typeof assemble>['config'];

/** One environment that the configuration names. It has an SDK key, a flags file, or both. */
export type EnvironmentConfig = Config['environments'][number];

/** A setting with the value in force. */
export interface Effective {
  readonly setting: Setting<unknown>;
  /** The environment or project, for settings that exist once for each. */
  readonly name: string | undefined;
  readonly text: string;
  /** Where it was given; empty for the default. */
  readonly places: readonly Place[];
}

const CLIENT_SIDE_BASE_URI = 'https://clientsdk.launchdarkly.com';
/** A former default of ld-relay, which replaces it too. */
const OLD_BASE_URI = 'https://app.launchdarkly.com';

/** `relay` is what is left of the relay's own settings without those of what is not in use. */
export function assemble(gathered: Gathered, findings: Findings) {
  const effective: Effective[] = [];
  function read<Table extends SettingTable>(table: Table, pieces: Pieces, name?: string): Values<Table> {
    return valuesOf(table, (setting) => {
      const { value, text, places } = readSetting(setting, pieces.get(setting) ?? [], findings);
      if (text !== undefined) effective.push({ setting, name, text, places });
      return value;
    });
  }

  const relay = withoutIdleSettings(gathered.relay, findings);
  const values = read(settings, relay);
  const filters: ReadonlyMap<string, readonly string[]> = new Map(
    [...gathered.filters].map(([project, pieces]) => {
      const { keys } = read(filterSettings, pieces, project);
      return [project, [...new Set(keys)]];
    }),
  );
  const environments = [...gathered.environments].map(([name, pieces]) => {
    const environment = read(environmentSettings, pieces, name);
    return { ...environment, name, filters: filters.get(environment.projKey ?? '') ?? [] };
  });
  warnWithoutEffect(gathered, findings);
  return { config: { ...relayConfig(values, relay, findings), environments, filters }, effective, relay };
}

type RelayValues = Values<typeof settings>;

function relayConfig(values: RelayValues, relay: Pieces, findings: Findings) {
  const { template, autoConfig, offline, ssm, tls, proxy, prometheus, datadog, otlp, ...rest } = values;
  const { dynamoDB, redis, consul, ...plain } = rest;
  // Only NTLM's check reads it. A setting without effect is checked in every place; a variable may turn off what the file has on.
  const { ntlmAuth: _, ...supportedProxy } = proxy;
  return {
    ...plain,
    ...baseUris(plain, findings),
    ...assembleStores({ dynamoDB, redis, consul }, relay),
    drainWindowMs: Math.min(plain.drainWindowMs, plain.gracefulShutdownTimeoutMs),
    tls: tlsOf(tls),
    proxy: supportedProxy,
    prometheus: prometheus.enabled ? { port: prometheus.port, prefix: prometheus.prefix } : undefined,
    datadog: datadogOf(datadog),
    otlp: assembleOtlp(otlp, relay, findings),
    autoConfig: autoConfig.key ? { ...template, ...autoConfig, key: autoConfig.key } : undefined,
    offline: offline.path ? { ...template, ...offline, path: offline.path } : undefined,
    ssm: ssm.path ? { ...ssm, path: ssm.path } : undefined,
  };
}

function baseUris(
  { baseUri, clientSideBaseUri }: Pick<RelayValues, 'baseUri' | 'clientSideBaseUri'>,
  findings: Findings,
) {
  const usual = settings.baseUri.fallback;
  const isOld = baseUri === OLD_BASE_URI;
  if (isOld) findings.warning(`${OLD_BASE_URI} is an old address; using ${usual} instead`);
  const base = isOld ? usual : baseUri;
  return { baseUri: base, clientSideBaseUri: clientSideBaseUri ?? (base === usual ? CLIENT_SIDE_BASE_URI : base) };
}

/** As ld-relay sorts tags when it reads variables, which its image always does. */
function datadogOf({ enabled, statsAddr, prefix, tags }: RelayValues['datadog']) {
  return enabled ? { statsAddr, prefix, tags: [...tags].sort() } : undefined;
}

function tlsOf({ enabled, certFile, keyFile, minVersion }: RelayValues['tls']) {
  if (!enabled || certFile === undefined || keyFile === undefined) return undefined;
  return { certFile, keyFile, minVersion };
}

/** One line for each reason, and none for what is switched off. */
function warnWithoutEffect({ withoutEffect }: Gathered, findings: Findings): void {
  const placesByReason = new Map<string, Place[]>();
  const onlyProblems: Findings = { problem: findings.problem, warning: () => {} };
  for (const [row, pieces] of withoutEffect) {
    for (const given of pieces.filter(({ text }) => text !== '')) {
      for (const piece of understood(row, given, onlyProblems)) {
        if (readPiece(row, piece, findings) === false) continue;
        placesByReason.set(row.why, [...(placesByReason.get(row.why) ?? []), piece.place]);
      }
    }
  }
  for (const [why, places] of placesByReason) {
    findings.warning(`${namesOf(places)} ${places.length === 1 ? 'has' : 'have'} no effect: ${why}`);
  }
}
