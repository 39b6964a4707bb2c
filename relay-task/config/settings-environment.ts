/** What exists once per environment, and once per project. In a variable, the name follows. */
import { boolean, durationMs, filledList, list, logLevel, text } from '../common/setting-values.ts';
import { inSection } from './setting.ts';

const environment = inSection('Environment');
const filters = inSection('Filters');

/** The settings of one environment: the variable is the prefix here followed by the environment's name. */
export const environmentSettings = {
  sdkKey: environment.optional('sdkKey', 'LD_ENV_', text, 'the SDK key; this variable defines the environment', {
    secret: true,
    old: [{ option: 'apiKey' }],
  }),
  mobileKey: environment.optional(
    'mobileKey',
    'LD_MOBILE_KEY_',
    text,
    'the mobile key; without it, mobile SDKs are not served',
    { secret: true },
  ),
  environmentId: environment.optional(
    'envId',
    'LD_CLIENT_SIDE_ID_',
    text,
    'the client-side ID; without it, browser SDKs are not served',
  ),
  prefix: environment.setting('prefix', 'LD_PREFIX_', text, '', "the prefix of the environment's keys in a store"),
  tableName: environment.optional('tableName', 'LD_TABLE_NAME_', text, "the environment's own DynamoDB table"),
  allowedOrigins: environment.setting(
    'allowedOrigin',
    'LD_ALLOWED_ORIGIN_',
    list,
    '',
    'the origins that browsers may send requests from; any by default',
    { many: true },
  ),
  allowedHeaders: environment.setting(
    'allowedHeader',
    'LD_ALLOWED_HEADER_',
    list,
    '',
    "request headers that browsers may send in addition to LaunchDarkly's",
    { many: true },
  ),
  secureMode: environment.setting(
    'secureMode',
    'LD_SECURE_MODE_',
    boolean,
    'false',
    'browsers must send the hash of their context',
  ),
  logLevel: environment.optional('logLevel', 'LD_LOG_LEVEL_', logLevel, "the environment's own `LOG_LEVEL`"),
  ttlMs: environment.setting(
    'ttl',
    'LD_TTL_',
    durationMs,
    '0',
    'how long answers to PHP SDKs may be cached; 0: not at all',
    { old: [{ option: 'ttlMinutes', env: 'LD_TTL_MINUTES_', bareMs: 60_000 }] },
  ),
  projKey: environment.optional(
    'projKey',
    'LD_PROJ_KEY_',
    text,
    'the key of its project; required if there are payload filters',
  ),
  heartbeatFlag: environment.optional(
    'heartbeatFlag',
    'LD_HEARTBEAT_FLAG_',
    text,
    "the environment's own `HEARTBEAT_FLAG`",
  ),
  flagsFile: environment.optional(
    'flagsFile',
    'LD_FLAGS_FILE_',
    text,
    'read flags from this JSON or YAML file, watched for changes, instead of from LaunchDarkly; defines the environment too',
  ),
} as const;

/** The settings of one project: the variable is the prefix here followed by the project's key. */
export const filterSettings = {
  keys: filters.setting(
    'keys',
    'LD_FILTER_KEYS_',
    filledList,
    '',
    "the keys of the project's payload filters; each environment of the project is then also served filtered",
    { many: true },
  ),
} as const;
