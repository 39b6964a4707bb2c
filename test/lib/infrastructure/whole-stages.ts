/**
 * Whole stages. Synthesis is expensive, so all tests of them run in `relay-stage.test.ts`, which imports the others, and share
 * one synthesis of each stage.
 */
import { type App, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import { createApp, full, type Synthesised, shipped, synthesise } from '../../support/synthesise.ts';

const cases = { full, dev: shipped.dev, prod: shipped.prod };
/** Of which the validators are run: they take longer than the synthesis. */
export const checked: readonly (keyof typeof cases)[] = process.env.LONG ? ['full', 'dev', 'prod'] : ['full'];
/** AWS's own validator takes as long as all synthesis here; `npm run synth` has it look at the shipped stages. */
const VALIDATED = Boolean(process.env.LONG);

/** Filled before all tests. */
export const made = {} as Record<keyof typeof cases, Synthesised>;
beforeAll(() => {
  for (const name of ['full', 'dev', 'prod'] as const) {
    made[name] = synthesise(name, cases[name], checked.includes(name) ? createCheckedApp(VALIDATED) : createApp());
  }
}, 300_000);

const oddCases = {
  /** Without environments and an edge, with one NAT gateway and a Redis of its own. */
  plain: {
    ...{ ...shipped.dev, edge: undefined, environments: [] },
    networks: { 'eu-west-1': { nat: 'one' } },
    redis: { url: 'rediss://cache.example.com:6380' },
  },
  /** On an existing table, without an edge and layers. */
  adopted: { ...shipped.dev, edge: undefined, readerLayer: false, table: 'existing', tableName: 'ld-relay' },
  /** With a replica that the relay asks for heartbeats, and one that it does not. */
  measured: {
    ...{ ...shipped.dev, edge: undefined, readerLayer: false, replicaRegions: ['us-west-2', 'ap-northeast-1'] },
    relay: { ...shipped.dev.relay, variables: { HEARTBEAT_FLAG: 'heartbeat', HEARTBEAT_REPLICAS: 'us-west-2' } },
  },
};
const odd = new Map<string, Synthesised>();

/** A small stage that lacks what others have. Synthesised once, when it is asked for. */
export function oddStage(name: keyof typeof oddCases): Synthesised {
  const known = odd.get(name) ?? synthesise(name, oddCases[name]);
  odd.set(name, known);
  return known;
}

/** An app whose synthesis runs cdk-nag's AwsSolutions and, if `validated`, AWS's validator. */
export function createCheckedApp(validated = true): App {
  const app = createApp({ validated });
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  return app;
}
