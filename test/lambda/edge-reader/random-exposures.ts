/** Random flags and contexts for comparing events: well-formed, with everything that decides which events there are. */
import type { Random } from '../../support/random.ts';
import { RandomChoices } from '../../support/random.ts';

export interface ExposureCase {
  readonly flags: Readonly<Record<string, Record<string, unknown>>>;
  readonly segments: Readonly<Record<string, Record<string, unknown>>>;
  readonly contexts: readonly unknown[];
}

export function randomExposures(random: Random): ExposureCase {
  return new Generator(random).all();
}

const KINDS = ['user', 'organization', 'device'];
const REFERENCES = [
  'email',
  '/email',
  '/address/street',
  'address',
  '/a~1b',
  '/~0tilde',
  'key',
  '/kind',
  '_meta',
  '',
  '//',
];

class Generator extends RandomChoices {
  all(): ExposureCase {
    const keys = ['f0', 'f1', 'f2', 'f3', 'f4', 'f5', 'f6', 'f7'];
    return {
      flags: Object.fromEntries(keys.map((key, index) => [key, this.flag(key, keys.slice(index + 1))])),
      segments: { s0: { key: 's0', version: 1, included: ['k0', 'k1'], excluded: [], rules: [], salt: 's' } },
      contexts: this.times(14, () => this.context()),
    };
  }

  private flag(key: string, later: readonly string[]): Record<string, unknown> {
    const variations = this.pick([
      [true, false],
      ['a', 'b'],
      [1, 2, 3],
      [{ deep: [1, null] }, 'b', null],
    ] as const);
    const variation = () => this.whole(0, variations.length - 1);
    const choice = () =>
      this.chance(0.5)
        ? { variation: variation() }
        : {
            rollout: {
              kind: this.pick(['experiment', 'experiment', 'rollout']),
              contextKind: this.pick(KINDS),
              seed: this.pick([7, undefined]),
              variations: [
                { variation: variation(), weight: 40_000 },
                { variation: variation(), weight: 60_000, untracked: this.chance(0.3) },
              ],
            },
          };
    return {
      ...{ key, version: this.whole(1, 99), on: this.chance(0.85), salt: key, variations },
      prerequisites: this.some(0.6, 3, () => ({ key: this.pick([...later, 'none']), variation: this.whole(0, 1) })),
      targets: this.some(0.3, 1, () => ({ variation: variation(), values: ['k1', 'k2'] })),
      rules: this.some(0.7, 2, (index) => ({
        id: `r${index}`,
        trackEvents: this.chance(0.3),
        clauses: [
          this.chance(0.3)
            ? { attribute: '', op: 'segmentMatch', values: ['s0'] }
            : { attribute: 'key', op: 'in', contextKind: this.pick(KINDS), values: ['k0', 'k3', 'k4'] },
        ],
        ...choice(),
      })),
      fallthrough: choice(),
      offVariation: this.pick([0, 1, undefined]),
      trackEvents: this.chance(0.25),
      trackEventsFallthrough: this.chance(0.25),
      debugEventsUntilDate: this.pick([undefined, undefined, null, 1_000, 9e15]),
      samplingRatio: this.pick([undefined, undefined, 1, 0, 2, 4, 2.9]),
      excludeFromSummaries: this.pick([undefined, undefined, false, true]),
    };
  }

  private context(): unknown {
    if (this.chance(0.08)) return this.pick([undefined, null, {}, { kind: 'user' }, { kind: 'user', key: '' }]);
    if (this.chance(0.2)) {
      return {
        ...{ key: this.pick(['k0', 'k1', 7]), name: this.pick(['Ann', 5]), email: 'a@example.com' },
        ...(this.chance(0.5) && { anonymous: this.pick([true, false, null]) }),
        custom: { plan: 'gold', '/email': 1, address: { street: 'x' } },
        ...(this.chance(0.6) && {
          privateAttributeNames: this.some(1, 3, () => this.pick(['plan', '/email', 'name'])),
        }),
      };
    }
    if (this.chance(0.3)) {
      const kinds = KINDS.filter(() => this.chance(0.6));
      return { kind: 'multi', ...Object.fromEntries(kinds.map((kind) => [kind, this.attributes()])) };
    }
    return { kind: this.pick(KINDS), ...this.attributes() };
  }

  private attributes(): Record<string, unknown> {
    return {
      key: this.pick(['k0', 'k1', 'k2', 'k3', 'k4', 'a:b%']),
      ...(this.chance(0.5) && { email: this.pick(['a@example.com', null]) }),
      ...(this.chance(0.5) && { address: { street: 'x', city: { name: 'y' }, list: [{ a: 1 }] } }),
      ...(this.chance(0.3) && { 'a/b': [1, 2], '~tilde': { email: 'z' } }),
      ...(this.chance(0.4) && { anonymous: this.chance(0.7) }),
      ...(this.chance(0.5) && {
        _meta: this.pick([{}, { privateAttributes: this.times(2, () => this.pick(REFERENCES)) }]),
      }),
    };
  }
}
