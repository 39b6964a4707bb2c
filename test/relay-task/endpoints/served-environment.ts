import {
  clientSideAvailability,
  compileFlag,
  compileSegment,
  createEvaluator,
  createGoDialect,
  type Flag,
  sha1BucketFloat32,
} from '../../../lib/evaluation/index.ts';
import type { Item } from '../../../lib/flag-table/index.ts';
import { compileRe2 } from '../../../relay-task/common/re2.ts';
import type { ServedEnvironment, ServedView } from '../../../relay-task/endpoints/services.ts';
import { createFDv2 } from '../../../relay-task/environments/fdv2.ts';
import type { CredentialKind, EvaluatedFlag, EventDelivery, Memberships } from '../../../relay-task/ports.ts';
import { evaluatedFlag } from '../../support/evaluated-flag.ts';
import type { Memory } from '../../support/memory.ts';

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** Everything that a test may change, and a record of what was done to it. */
export interface TestEnvironment extends Writable<ServedEnvironment> {
  view: Memory & ServedView;
  /** Number of evaluations of all flags. */
  evaluations: number;
  /** Stands for Big Segment memberships: awaited before evaluating, then read. */
  bigSegment: { wait(): Promise<Memberships | undefined>; flag: string; value: unknown } | undefined;
  /** Stands for a flag that counts in an earlier version than the view's. */
  earlier: { readonly flag: string; readonly value: unknown } | undefined;
  readonly delivered: ({ readonly to: 'analytics' | 'diagnostic' } & EventDelivery)[];
}

const dialect = createGoDialect(compileRe2);

/** A small environment over a memory; it compiles a flag on each evaluation. */
export function createTestEnvironment(memory: Memory): TestEnvironment {
  const view = withStates(memory);
  const compiled = (key: string) => {
    const item = view.get('features', key);
    return item && compileFlag(JSON.parse(item.json), dialect);
  };
  const evaluator = createEvaluator(
    {
      flag: compiled,
      segment: (key) => {
        const item = view.get('segments', key);
        return item && compileSegment(JSON.parse(item.json), dialect);
      },
      bucket: sha1BucketFloat32,
    },
    dialect,
  );
  const sees = (flag: Flag, audience: CredentialKind) => {
    const { usingMobileKey, usingEnvironmentId } = clientSideAvailability(flag);
    return audience === 'sdkKey' || (audience === 'mobileKey' ? usingMobileKey : usingEnvironmentId);
  };
  const delivered: TestEnvironment['delivered'] = [];
  const environment: TestEnvironment = {
    name: 'production',
    environmentId: '64a0',
    view,
    refused: false,
    clientView: {
      compile: () => undefined,
      get isBehind() {
        return environment.earlier !== undefined;
      },
      prepare: () => environment.bigSegment?.wait(),
      isPrepared: (_context, memberships) => !environment.bigSegment || memberships !== undefined,
      evaluateOne(key, context, { audience, withReasons }) {
        const flag = compiled(key);
        if (!flag || flag.deleted || !sees(flag, audience)) return undefined;
        const { detail } = evaluator.evaluateFlag(flag, context);
        const { bigSegment, earlier } = environment;
        const other = [bigSegment, earlier].find((one) => one?.flag === key);
        const result = {
          value: other ? other.value : detail.value,
          variation: detail.variationIndex,
          version: flag.version,
          flagVersion: flag.version,
          ...(withReasons && { reason: detail.reason }),
        };
        return evaluatedFlag(key, result, detail.reason);
      },
      *evaluateInSteps(context, options) {
        yield;
        environment.evaluations++;
        return [...view.items('features')]
          .map(({ key }) => environment.clientView.evaluateOne(key, context, options))
          .filter((flag): flag is EvaluatedFlag => flag !== undefined);
      },
    },
    secureMode: false,
    sdkKeys: () => ['sdk-key'],
    knowsAllKeys: () => true,
    allowedOrigins: [],
    allowedHeaders: [],
    ttlMs: 0,
    events: {
      closed: false,
      analytics: async (events) => void delivered.push({ to: 'analytics', ...events }),
      diagnostic: (events) => void delivered.push({ to: 'diagnostic', ...events }),
    },
    evaluations: 0,
    bigSegment: undefined,
    earlier: undefined,
    delivered,
  };
  return environment;
}

/** The memory, with a history of its states. */
function withStates(memory: Memory): Memory & ServedView {
  // The digest does not walk through the items, which tests count.
  const state = () => (memory.initialized ? memory.digest('all') : '');
  const changes: { readonly before: string; readonly items: readonly Item[] }[] = [];
  const changesSince = (since: string): readonly Item[] | undefined => {
    if (since === state()) return [];
    const index = changes.findIndex(({ before }) => before === since);
    if (index < 0) return undefined;
    const last = new Map(changes.slice(index).flatMap((change) => change.items.map((item) => [item.key, item])));
    return [...last.values()];
  };
  return Object.assign(Object.create(memory) as Memory, {
    state,
    fdv2: createFDv2({ items: () => memory.all(), state, changesSince }),
    set(...list: readonly Item[]) {
      changes.push({ before: state(), items: list });
      return memory.set(...list);
    },
  });
}
