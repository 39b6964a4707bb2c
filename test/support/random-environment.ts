/**
 * Random environments and contexts, for comparing evaluators: well-formed most of the time, odd where evaluators are known to
 * disagree, and damaged now and then (nulls, missing fields and wrong types at any depth). The same seed makes the same data.
 */
import { createHash } from 'node:crypto';
import type { BigSegmentsStatus } from '../../lib/evaluation/index.ts';
import type { Random } from './random.ts';
import { RandomValues } from './random-values.ts';
import {
  BAD_REFERENCES,
  INHERITED,
  KEYS,
  KINDS,
  LISTED,
  NAMES,
  ODD_NAMES,
  ODD_OPERATORS,
  OPERATORS,
  REFERENCES,
  SEEDS,
  TEXTS,
  WEIGHTS,
} from './random-vocabulary.ts';

export interface RandomEnvironment {
  readonly flags: Readonly<Record<string, unknown>>;
  readonly segments: Readonly<Record<string, unknown>>;
  /** Undefined: no Big Segment store. */
  readonly bigSegments?: {
    readonly status: Exclude<BigSegmentsStatus, 'NOT_CONFIGURED'>;
    /** By raw context key. */
    readonly memberships: Readonly<Record<string, Readonly<Record<string, boolean>> | null>>;
    readonly failKeys: readonly string[];
  };
  readonly contexts: readonly unknown[];
}

export function randomEnvironment(random: Random): RandomEnvironment {
  const make = new Generator(random);
  return make.environment();
}

class Generator extends RandomValues {
  private flagKeys: string[] = [];
  private segmentKeys: string[] = [];

  environment(): RandomEnvironment {
    if (this.chance(0.12)) return this.tangle();
    const odd = this.chance(0.08);
    this.flagKeys = ['f0', 'f1', 'f2', 'f3', 'f4', 'f5'].slice(0, this.whole(2, 6));
    this.segmentKeys = ['s0', 's1', 's2', 's3', 's4'].slice(0, this.whole(1, 5));
    if (odd) this.flagKeys.push(this.pick(INHERITED));
    if (odd) this.segmentKeys.push(this.pick(INHERITED));
    let flags = Object.fromEntries(this.flagKeys.map((key, i) => [key, this.flag(key, i)]));
    let segments = Object.fromEntries(this.segmentKeys.map((key, i) => [key, this.segment(key, i)]));
    // Wrong types are rare, because any malformed flag is an error and hides other differences.
    const wrongType = this.chance(0.07);
    if (wrongType || this.chance(0.2)) {
      for (let i = this.whole(1, wrongType ? 2 : 4); i > 0; i--) {
        if (this.chance(0.7)) flags = this.damaged(flags, 2, wrongType);
        else segments = this.damaged(segments, 2, wrongType);
      }
    }
    const bigSegments = this.chance(0.7) ? this.bigSegments() : undefined;
    const contexts = this.times(8, () => this.context());
    return { flags, segments, ...(bigSegments && { bigSegments }), contexts };
  }

  /** Flags and segments that need several others, often the same ones, and sometimes in a circle. */
  private tangle(): RandomEnvironment {
    this.flagKeys = this.times(this.whole(3, 7), (i) => `f${i}`);
    this.segmentKeys = this.times(this.whole(2, 5), (i) => `s${i}`);
    const later = (keys: readonly string[], index: number, circles: number) =>
      this.chance(circles) ? this.pick(keys) : (keys[index + this.whole(1, 2)] ?? 'none');
    const circles = this.pick([0, 0, 0.15]);
    const flags = this.flagKeys.map((key, index) => {
      const names = this.times(this.whole(0, 3), () => later(this.flagKeys, index, circles));
      const prerequisites = names
        .filter((name) => name !== 'none' || this.chance(0.1))
        .map((name) => ({ key: name, variation: this.chance(0.9) ? 1 : 0 }));
      const rules = this.some(0.7, 2, (i) => ({
        id: `r${i}`,
        variation: this.chance(0.7) ? 1 : 0,
        clauses: [this.segmentMatch(() => this.pick(this.segmentKeys))],
      }));
      const flag = { key, version: 1, on: this.chance(0.95), salt: '', variations: ['a', 'b'], prerequisites, rules };
      return [key, { ...flag, offVariation: this.whole(0, 1), fallthrough: { variation: this.chance(0.9) ? 1 : 0 } }];
    });
    const segments = this.segmentKeys.map((key, index) => {
      // Few of them refer to others: the SDK looks at the same segments again and again.
      const clauses = (rule: number) =>
        this.times(this.whole(1, 2), () =>
          rule < 2 && this.chance(0.7)
            ? this.segmentMatch(() => later(this.segmentKeys, index, circles / 3))
            : { attribute: 'key', op: 'in', values: this.times(3, () => this.pick(KEYS)), negate: this.chance(0.3) },
        );
      const rules = this.times(this.pick([1, 2, 10]), (i) => ({ id: `r${i}`, clauses: clauses(i) }));
      const big = this.chance(0.3) ? { unbounded: true, generation: this.pick([1, 2]) } : {};
      return [key, { key, version: 1, salt: '', included: [], excluded: [], rules, ...big }];
    });
    return {
      flags: Object.fromEntries(flags),
      segments: Object.fromEntries(segments),
      ...(this.chance(0.7) && { bigSegments: this.bigSegments() }),
      contexts: this.times(8, () => this.context()),
    };
  }

  private segmentMatch(pick: () => string): unknown {
    return { attribute: '', op: 'segmentMatch', values: this.times(this.whole(1, 2), pick), negate: this.chance(0.3) };
  }

  private flag(key: string, index: number): unknown {
    if (this.chance(0.03)) return { key, version: 3, deleted: true };
    if (this.chance(0.35)) return this.probe(key);
    const salt = this.pick(['s', 'salt.x', '', 'é']);
    const variations = this.times(this.whole(1, 4), (i) =>
      this.pick([`v${i}`, i, i % 2 === 0, null, { q: i, r: null }, [i], -0]),
    );
    const variation = () => this.variation(variations.length);
    // Mostly to later flags, so that chains are deep and cycles few.
    const prerequisites = this.some(0.25, 3, () => ({
      key: this.chance(0.85)
        ? (this.flagKeys[index + this.whole(1, 3)] ?? 'none')
        : this.pick([...this.flagKeys, 'none']),
      variation: this.variation(2),
    }));
    return {
      ...(this.chance(0.999) && { key }),
      version: this.whole(0, 99),
      on: this.chance(0.88),
      ...(this.chance(0.95) && { salt }),
      variations,
      prerequisites,
      targets: this.some(0.3, 3, () => this.target(variation(), this.chance(0.05))),
      contextTargets: this.some(0.15, 3, () => this.target(variation(), true)),
      rules: this.some(0.9, 4, (i) => ({
        ...this.pick([{ id: `r${i}` }, { id: '' }, {}]),
        ...(this.chance(0.97) && { clauses: this.clauses() }),
        ...this.choice(key, salt, variation),
        trackEvents: this.chance(0.2),
      })),
      ...(this.chance(0.97) && { fallthrough: this.choice(key, salt, variation) }),
      ...(this.chance(0.85) && { offVariation: variation() }),
      clientSideAvailability: { usingMobileKey: this.chance(0.5), usingEnvironmentId: this.chance(0.5) },
      trackEvents: this.chance(0.2),
      trackEventsFallthrough: this.chance(0.2),
      debugEventsUntilDate: this.pick([null, null, 0, 1e12, undefined]),
      deleted: this.pick([false, null, undefined]),
      unknownField: { kept: [null] },
    };
  }

  /** A flag that only tests one condition, so that no other part can hide its result. */
  private probe(key: string): unknown {
    const op = this.pick(OPERATORS);
    const odd = this.chance(0.3);
    const kind = odd ? this.kind() : undefined;
    const clause = {
      ...(odd && { contextKind: kind }),
      attribute: odd ? this.pick(REFERENCES) : this.attribute(undefined, op),
      op: odd ? 'in' : op,
      values: odd ? TEXTS : this.times(this.whole(1, 2), () => this.operand(op)),
      negate: this.chance(0.3),
    };
    const rules = [{ id: 'probe', variation: 1, clauses: [clause] }];
    return {
      key,
      version: 1,
      on: true,
      variations: ['no', 'yes'],
      offVariation: 0,
      salt: '',
      rules,
      fallthrough: { variation: 0 },
    };
  }

  private target(variation: unknown, withKind: boolean): unknown {
    const kind = this.pick([...KINDS, 'user', '']);
    return {
      ...(withKind && { contextKind: kind }),
      variation,
      ...(this.chance(0.98) && { values: this.times(this.whole(0, 4), () => this.pick(LISTED)) }),
    };
  }

  private variation(count: number): unknown {
    return this.chance(0.02) ? this.pick([-1, count, null]) : this.whole(0, count - 1);
  }

  private choice(key: string, salt: string, variation: () => unknown): object {
    if (this.chance(0.5)) return { variation: variation() };
    if (this.chance(0.03))
      return this.pick([{}, { rollout: {} }, { rollout: { variations: [] } }, { variation: null }]);
    const seed = this.chance(0.3) ? this.pick(SEEDS) : undefined;
    const kind = this.chance(0.2) ? this.kind() : undefined;
    return {
      rollout: {
        ...this.pick([{}, {}, { kind: 'rollout' }, { kind: 'experiment' }, { kind: 'experiment' }, { kind: 'other' }]),
        ...(kind !== undefined && { contextKind: kind }),
        ...(this.chance(0.35) && { bucketBy: this.attribute(kind) }),
        ...(seed !== undefined && { seed }),
        variations: this.times(this.whole(1, 4), () => ({
          ...(this.chance(0.99) && { variation: variation() }),
          weight: this.weight(seed ? `${seed}` : `${key}.${salt}`),
          ...(this.chance(0.2) && { untracked: this.pick([true, false, null]) }),
        })),
      },
    };
  }

  /** Sometimes exactly the bucket of a context, to test the boundary. */
  private weight(prefix: string): number {
    if (this.chance(0.35)) return this.whole(0, 100_000);
    if (this.chance(0.4)) return this.pick(WEIGHTS);
    const hash = createHash('sha1')
      .update(`${prefix}.${this.pick(KEYS)}`)
      .digest('hex');
    const bucket = Number.parseInt(hash.slice(0, 15), 16) / 2 ** 60;
    return this.pick([bucket * 100_000, bucket * 100_000, Math.floor(bucket * 100_000), Math.ceil(bucket * 100_000)]);
  }

  private segment(key: string, index: number): unknown {
    if (this.chance(0.03)) return { key, version: 3, deleted: true };
    const salt = this.pick(['s', '', 'é']);
    const keys = () => this.some(0.35, 3, () => this.pick(LISTED));
    const members = () =>
      this.some(0.25, 3, () => ({
        ...(this.chance(0.95) && { contextKind: this.kind() }),
        ...(this.chance(0.98) && { values: this.times(this.whole(0, 3), () => this.pick(LISTED)) }),
      }));
    const many = this.chance(0.03) ? Array.from({ length: 150 }, (_, i) => `x${i}`) : [];
    return {
      ...(this.chance(0.999) && { key }),
      version: this.whole(0, 99),
      included: [...keys(), ...many],
      excluded: [...many, ...keys()],
      includedContexts: members(),
      excludedContexts: members(),
      ...(this.chance(0.95) && { salt }),
      rules: this.some(0.7, 3, (i) => {
        const kind = this.chance(0.3) ? this.kind() : undefined;
        return {
          id: `r${i}`,
          ...(this.chance(0.97) && { clauses: this.chance(0.25) ? [] : this.clauses(index) }),
          ...(this.chance(0.5) && { weight: this.weight(`${key}.${salt}`) }),
          ...(this.chance(0.2) && { bucketBy: this.attribute(kind) }),
          ...(kind !== undefined && { rolloutContextKind: kind }),
        };
      }),
      ...(this.chance(0.4) && { unbounded: true, generation: this.pick([1, 2, 2, null, 0, undefined, -1]) }),
      ...(this.chance(0.25) && { unboundedContextKind: this.kind() }),
    };
  }

  /** `after`: the index of the segment with these rules; they mostly refer to later segments. */
  private clauses(after = -1): unknown[] {
    return this.some(0.96, this.pick([1, 2, 3]), () => {
      if (this.chance(0.3)) {
        const values = this.times(this.whole(0, 3), () => {
          if (this.chance(0.05)) return this.pick(['none', 1, null, true, 'constructor']);
          return this.chance(0.85)
            ? (this.segmentKeys[after + this.whole(1, 3)] ?? 'none')
            : this.pick(this.segmentKeys);
        });
        return { attribute: '', op: 'segmentMatch', values, negate: this.chance(0.25) };
      }
      const kind = this.chance(0.4) ? this.kind() : undefined;
      const op = this.chance(0.03) ? this.pick(ODD_OPERATORS) : this.pick(OPERATORS);
      return {
        ...(kind !== undefined && { contextKind: kind }),
        attribute: this.attribute(kind, op),
        op,
        ...(this.chance(0.985) && { values: this.times(this.whole(0, 3), () => this.operand(op)) }),
        negate: this.pick([true, false, false, null, undefined]),
      };
    });
  }

  private attribute(kind: string | undefined, op = ''): string {
    if (this.chance(0.04)) return this.pick(BAD_REFERENCES);
    if (this.chance(kind === undefined ? 0.05 : 0.35)) return this.pick(REFERENCES);
    if (this.chance(0.12)) return this.pick(['key', 'kind', 'anonymous', ...ODD_NAMES]);
    if (op.startsWith('semVer')) return 'version';
    if (op === 'before' || op === 'after') return 'when';
    if (/Than/.test(op)) return 'n';
    return this.pick(NAMES);
  }

  private bigSegments(): RandomEnvironment['bigSegments'] {
    const references = this.segmentKeys.flatMap((key) => [`${key}.g1`, `${key}.g2`]);
    return {
      status: this.pick(['HEALTHY', 'HEALTHY', 'STALE', 'STORE_ERROR']),
      memberships: Object.fromEntries(
        KEYS.map((key) => [
          key,
          this.chance(0.2)
            ? null
            : Object.fromEntries(this.some(0.8, 5, () => [this.pick(references), this.chance(0.6)] as const)),
        ]),
      ),
      failKeys: this.chance(0.15) ? [this.pick(KEYS)] : [],
    };
  }
}
