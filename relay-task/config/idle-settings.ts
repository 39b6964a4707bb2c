/** Which of the given settings count: not those of something that is not switched on. */

import type { Findings } from '../common/findings.ts';
import { REDIS_ADDRESS } from './assemble-stores.ts';
import { lastOf, type Piece, type Pieces, switchOf } from './gather.ts';
import { nameOf } from './places.ts';
import { readPiece, understood } from './read-settings.ts';
import { type Setting, settings, settingsIn } from './settings.ts';

const { redis, consul, dynamoDB, prometheus, datadog, otlp, tls } = settings;

const STORES: readonly Setting<unknown>[] = [redis.enabled, consul.enabled, dynamoDB.enabled];

const inFile = ({ place }: Piece) => !('variable' in place);
const isFilledInFile = (piece: Piece) => inFile(piece) && piece.text !== '';

/** Settings that count only while something is in use. */
interface Group {
  readonly switch: Setting<boolean>;
  readonly rows: readonly Setting<unknown>[];
  /** Whether variables count. */
  readonly variables: boolean;
  /** Whether options of the file count. */
  readonly file: boolean;
}

function groupsOf(pieces: Pieces): readonly Group[] {
  const bySwitch = (table: { readonly enabled: Setting<boolean> }): Group => {
    const isOn = switchOf(pieces, table.enabled) === true;
    return { switch: table.enabled, rows: settingsIn({ ...table }), variables: isOn, file: isOn };
  };
  const { region: _, ...table } = dynamoDB;
  // As in ld-relay, an address in the file is enough for the variables of Redis to count, even without USE_REDIS.
  const hasRedis = REDIS_ADDRESS.some((setting) => pieces.get(setting)?.some(inFile));
  const hasConsul = pieces.get(consul.address)?.some(isFilledInFile);
  const redisBySwitch = bySwitch(redis);
  const consulBySwitch = bySwitch(consul);
  return [
    hasRedis ? { ...redisBySwitch, variables: true, file: true } : redisBySwitch,
    hasConsul ? { ...consulBySwitch, file: true } : consulBySwitch,
    ...[table, prometheus, datadog, otlp, tls].map(bySwitch),
  ];
}

/**
 * Like ld-relay, ignores the variables of a store that is not in use: they may belong to something else. Kubernetes
 * sets REDIS_PORT wherever a service is called redis. Says what is ignored, unless it was switched off expressly.
 */
export function withoutIdleSettings(pieces: Pieces, findings: Findings): Pieces {
  const kept = new Map(pieces);
  for (const group of groupsOf(pieces)) {
    const isOff = switchOf(pieces, group.switch) === false;
    for (const setting of group.rows.filter((row) => row !== group.switch)) {
      const counts = (piece: Piece) => (inFile(piece) ? group.file : group.variables);
      const idle = (pieces.get(setting) ?? []).filter((piece) => !counts(piece));
      if (idle.length === 0) continue;
      keepOnly(kept, setting, counts);
      for (const piece of idle) {
        const isValid = isForeign(piece, group) || isUnderstood(setting, piece, findings);
        if (isValid && !isOff) warnIdle(piece, group.switch, findings);
      }
    }
  }
  // As in ld-relay, the switch resets the host to localhost before the variable is read.
  const host = lastOf(kept, consul.address);
  if (switchOf(pieces, consul.enabled) && host && inFile(host)) {
    findings.warning(`${nameOf(host.place)} has no effect: USE_CONSUL=true means localhost unless CONSUL_HOST is set`);
    kept.delete(consul.address);
  }
  settleRedisAddress(kept, findings);
  return kept;
}

/** Whether it may belong to something else, so that its value is not our business. */
function isForeign(piece: Piece, group: Group): boolean {
  return !inFile(piece) && STORES.includes(group.switch);
}

/** An invalid value is a problem even where it has no effect; otherwise it would surface only when the feature is switched on. */
function isUnderstood(setting: Setting<unknown>, piece: Piece, findings: Findings): boolean {
  const texts = piece.text === '' ? [] : understood(setting, piece, findings);
  return texts.some((text) => readPiece(setting, text, findings) !== undefined);
}

function warnIdle(piece: Piece, { section, option, env }: Setting<boolean>, findings: Findings): void {
  if (piece.text.startsWith('tcp://')) return;
  const inItsFile = option === undefined ? `no address of ${section} is set` : `[${section}] ${option} is not set`;
  findings.warning(`${nameOf(piece.place)} has no effect: ${inFile(piece) ? inItsFile : `${env} is not set`}`);
}

/** Decides between the address in the file and the one in the variables. */
function settleRedisAddress(pieces: Map<Setting<unknown>, readonly Piece[]>, findings: Findings): void {
  const off = lastOf(pieces, redis.enabled);
  const [first] = REDIS_ADDRESS.flatMap((setting) => (pieces.get(setting) ?? []).filter(inFile));
  if (off && first && switchOf(pieces, redis.enabled) === false) {
    findings.warning(`${nameOf(off.place)} does not switch Redis off: its address is set by ${nameOf(first.place)}`);
  }
  const port = lastOf(pieces, redis.port);
  // A linked container is not meant if an address is given.
  const better =
    first ??
    [redis.url, redis.sentinels, redis.clusterNodes, redis.host].map((one) => lastOf(pieces, one)).find(Boolean);
  if (port?.text.startsWith('tcp://') && !inFile(port) && better) {
    findings.warning(`${nameOf(port.place)} has no effect: the address of Redis is set by ${nameOf(better.place)}`);
    keepOnly(pieces, redis.port, inFile);
  }
  const url = lastOf(pieces, redis.url);
  if (url && !inFile(url)) {
    for (const setting of [redis.host, redis.port]) keepOnly(pieces, setting, (piece) => !inFile(piece));
  }
}

function keepOnly(
  pieces: Map<Setting<unknown>, readonly Piece[]>,
  setting: Setting<unknown>,
  keeps: (piece: Piece) => boolean,
): void {
  const kept = (pieces.get(setting) ?? []).filter(keeps);
  if (kept.length > 0) pieces.set(setting, kept);
  else pieces.delete(setting);
}
