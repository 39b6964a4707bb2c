/** Keys, flags and times that the parts of these suites share. */

export const FULL = process.env.FAULTS !== undefined;

export const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
export const mobileKey = 'mob-00000000-1111-2222-3333-444455556666';
export const environmentId = '0123456789abcdef01234567';
/** Another environment of the same relay, for clients that must not hurt those of the first one. */
export const otherKey = 'sdk-99999999-1111-2222-3333-444455556666';

/** The flag whose changes every client must get. */
export const CHANGING = 'changing';

/** Its value, which is what clients of every kind see. */
export interface Published {
  readonly version: number;
  /** Unix ms. */
  readonly at: number;
}

const shown = { clientSide: true, clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true } };
const flag = (key: string, version: number, variations: readonly unknown[], more: object = {}) => ({
  ...{
    key,
    version,
    on: true,
    salt: key,
    deleted: false,
    prerequisites: [],
    targets: [],
    contextTargets: [],
    rules: [],
  },
  ...{ fallthrough: { variation: 0 }, offVariation: 1, variations, ...shown, ...more },
});

export const changingFlag = (published: Published) => flag(CHANGING, published.version, [published, null]);

const rule = (op: string, attribute: string, value: string) => ({
  ...{ id: `${op}-${attribute}`, variation: 1 },
  clauses: [{ contextKind: 'user', attribute, op, values: [value], negate: false }],
});

/** What an environment of a company holds in small: rules with patterns, prerequisites, a few large values. */
export function ordinaryFlags(): Record<string, unknown> {
  const patterns = ['[a-z]+@corp\\.com$', '(a+)+$', '^(\\w+\\s?)*$'];
  const flags = [
    ...patterns.map((pattern, index) =>
      flag(`pattern-${index}`, 1, [true, false], { rules: [rule('matches', 'email', pattern)] }),
    ),
    ...Array.from({ length: 20 }, (_, index) =>
      flag(`plain-${index}`, 1, [`on-${index}`, 'off'], {
        rules: [rule('endsWith', 'email', '@example.com'), rule('semVerGreaterThan', 'version', '2.0.0')],
        prerequisites: index > 0 ? [{ key: `plain-${index - 1}`, variation: 0 }] : [],
      }),
    ),
    flag('large', 1, [{ text: 'x'.repeat(2_000) }, null]),
  ];
  return Object.fromEntries(flags.map((each) => [each.key, each]));
}

/** The variables of a relay, or of ld-relay, for these environments. */
export function relayVariables(upstreamUri: string): Record<string, string> {
  return {
    ...{ PORT: '0', LISTEN_HOST: '127.0.0.1', STREAM_URI: upstreamUri, BASE_URI: upstreamUri },
    ...{ USE_EVENTS: 'true', EVENTS_HOST: upstreamUri, EVENTS_FLUSH_INTERVAL: '1s', DRAIN_WINDOW: '2s' },
    ...{
      LD_ENV_main: sdkKey,
      LD_MOBILE_KEY_main: mobileKey,
      LD_CLIENT_SIDE_ID_main: environmentId,
      LD_PREFIX_main: 'main',
    },
    ...{ LD_ENV_other: otherKey, LD_PREFIX_other: 'other' },
  };
}
