/** Heartbeat flags, which tell how long changes take from LaunchDarkly (docs/propagation.md). */
import { durationFrom, httpUrl, type Reader, text } from '../common/setting-values.ts';
import { inSection } from './setting.ts';

const heartbeat = inSection('Heartbeat');

interface ReplicaPlace {
  readonly region: string;
  /** Undefined: AWS's own. */
  readonly url: string | undefined;
}

/** Regions, or `region=URL` where another server than AWS's has that replica. */
const replicas: Reader<readonly ReplicaPlace[]> = (value) => {
  const wanted = { wanted: 'comma-separated AWS regions, or region=URL' };
  const places: ReplicaPlace[] = [];
  for (const item of value.split(',').map((one) => one.trim())) {
    if (item === '') continue;
    const [, region, address] = /^([a-z]{2}(?:-[a-z]+)+-\d)(?:=(.+))?$/.exec(item) ?? [];
    const url = address === undefined ? undefined : httpUrl(address);
    if (region === undefined || (url && !('value' in url))) return wanted;
    places.push({ region, url: url?.value });
  }
  return { value: places };
};

export const heartbeatSettings = {
  heartbeat: {
    flag: heartbeat.optional(
      'flag',
      'HEARTBEAT_FLAG',
      text,
      'the key of the heartbeat flag of environments that have none of their own; without one, the way from LaunchDarkly is not measured',
    ),
    project: heartbeat.optional(
      'project',
      'HEARTBEAT_PROJECT',
      text,
      'the key of the project of heartbeat flags, for environments of which neither `LD_PROJ_KEY_`, `project-key` in SSM nor auto-configuration names one',
    ),
    apiToken: heartbeat.optional(
      'apiToken',
      'HEARTBEAT_API_TOKEN',
      text,
      "an access token of LaunchDarkly's REST API that may update the variations of heartbeat flags; without it, another program must change them",
      { secret: true },
    ),
    apiUri: heartbeat.setting(
      'apiUri',
      'HEARTBEAT_API_URI',
      httpUrl,
      'https://app.launchdarkly.com',
      "the base URL of LaunchDarkly's REST API",
    ),
    intervalMs: heartbeat.setting(
      'interval',
      'HEARTBEAT_FLAG_INTERVAL',
      durationFrom(10_000, '10s', 3_600_000, '1h'),
      '60s',
      'the interval between heartbeats; each may come up to a quarter later. Heartbeats are overdue after five intervals without one, no matter who sends them',
    ),
    replicas: heartbeat.setting(
      'replicas',
      'HEARTBEAT_REPLICAS',
      replicas,
      '',
      "comma-separated regions whose replicas of the flag table are asked for each heartbeat by the relay that wrote it; `region=URL` for another server than AWS's",
    ),
  },
} as const;
