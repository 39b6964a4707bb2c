/** A stage as the templates of any CDK app show it: what the commands need of an app that uses the constructs. */
import { metricsNamespace } from '../lib/infrastructure/relay-contract.ts';
import type { StageSettings } from '../lib/infrastructure/stages.ts';
import type { StackTemplate, TemplateResource } from '../lib/infrastructure/template.ts';
import { isObject } from '../relay-task/common/json.ts';
import { type Assembly, type AssemblyStack, readAssemblies } from './cloud-assembly.ts';
import { UnknownStageArgument } from './stage-of.ts';

/** One relay of the app: a task definition of a `RelayService`. */
interface Relay {
  /** Its stage's namespace of metrics, which has the name of the stage. */
  readonly namespace: string;
  readonly stack: AssemblyStack;
  readonly variables: Readonly<Record<string, string>>;
  readonly task: TemplateResource;
}

/** What the commands take instead of a stage file and its synthesis. */
export interface GivenStage {
  readonly stages: Readonly<Record<string, StageSettings>>;
  readonly synthesise: () => readonly StackTemplate[];
  /** The command that deploys it. */
  readonly deploy: string;
}

/**
 * Reads a `cdk.out`. Throws UnknownStageArgument if it cannot be read or no relay in it is of that stage.
 *
 * The templates do not tell the names of environments, and those of resources are the app's own: what depends on them is not checked.
 */
export function stageOfApp(name: string, directory: string): GivenStage {
  const assemblies = assembliesIn(directory);
  const own = assemblies.filter((one) => relaysIn(one).some(({ namespace }) => namespace === metricsNamespace(name)));
  if (own.length === 0) {
    const known = [...new Set(assemblies.flatMap(relaysIn).map(({ namespace }) => namespace.split('/')[1] ?? ''))];
    const there = known.length === 0 ? 'it has no RelayService' : `expected ${known.join(' or ')}`;
    throw new UnknownStageArgument(`stage ${JSON.stringify(name)} is not in ${directory}: ${there}`);
  }
  const all = own.flatMap(relaysIn);
  const relays = all.filter(({ namespace }) => namespace === metricsNamespace(name));
  // An app without Stages may have the stacks of several stages.
  const foreign = new Set(all.filter((one) => !relays.includes(one)).map(({ stack }) => stack));
  for (const { stack } of relays) foreign.delete(stack);
  const stacks = own.flatMap((one) => one.stacks).filter((stack) => !foreign.has(stack));
  return { stages: { [name]: settingsOf(relays, stacks) }, synthesise: () => stacks, deploy: 'npx cdk deploy' };
}

function assembliesIn(directory: string): Assembly[] {
  try {
    return readAssemblies(directory);
  } catch (error) {
    throw new UnknownStageArgument(`--app ${directory}: ${(error as Error).message}`, { cause: error });
  }
}

function relaysIn({ stacks }: Assembly): Relay[] {
  return stacks.flatMap((stack) =>
    resourcesOf(stack, 'AWS::ECS::TaskDefinition').flatMap((task) => {
      const variables = variablesOf(task);
      const namespace = variables.METRICS_NAMESPACE ?? '';
      return namespace.startsWith(metricsNamespace('')) ? [{ namespace, stack, variables, task }] : [];
    }),
  );
}

function settingsOf(relays: readonly Relay[], stacks: readonly AssemblyStack[]): StageSettings {
  const writing = relays.find(({ variables }) => variables.STORE_WRITER !== 'never') ?? relays[0]!;
  const tableName = writing.variables.DYNAMODB_TABLE ?? '';
  const table = stacks
    .flatMap((stack) =>
      resourcesOf(stack, 'AWS::DynamoDB::GlobalTable').map((one) => ({ ...one, region: stack.region })),
    )
    .find(({ Properties }) => Properties?.TableName === tableName);
  const homeRegion = table?.region ?? writing.stack.region;
  const replicas = (table?.Properties?.Replicas ?? []) as readonly { readonly Region?: unknown }[];
  const regions = relays.map(({ stack }) => stack.region);
  const { account } = writing.stack;
  return {
    ...(account !== undefined && { account }),
    homeRegion,
    replicaRegions: regionsWithout(homeRegion, [...replicas.map(({ Region }) => String(Region)), ...regions]),
    relayRegions: regionsWithout(homeRegion, regions),
    tableName,
    table: table === undefined ? 'existing' : 'new',
    // What a stage of production must have is not asked of an app.
    production: false,
    environments: [],
    readerLayer: false,
    relay: {
      ...numbers({ cpu: writing.task.Properties?.Cpu, memoryMiB: writing.task.Properties?.Memory }),
      ...tasksOf(writing.stack),
      ...(writing.variables.BASE_URI !== undefined && { variables: { BASE_URI: writing.variables.BASE_URI } }),
    },
  };
}

function regionsWithout(home: string, regions: readonly string[]): string[] {
  return [...new Set(regions)].filter((region) => region !== home);
}

/** As its service, or the scaling of it, has them. */
function tasksOf(stack: StackTemplate): { readonly tasks?: number; readonly maxTasks?: number } {
  const [service] = resourcesOf(stack, 'AWS::ECS::Service');
  const [scaling] = resourcesOf(stack, 'AWS::ApplicationAutoScaling::ScalableTarget');
  const { MinCapacity = service?.Properties?.DesiredCount, MaxCapacity } = scaling?.Properties ?? {};
  return numbers({ tasks: MinCapacity, maxTasks: MaxCapacity });
}

/** Those that are numbers: CloudFormation writes some as text, and others may be parameters. */
function numbers<K extends string>(values: Readonly<Record<K, unknown>>): { readonly [name in K]?: number } {
  const found = Object.entries(values).filter(([, value]) => /^\d+$/.test(String(value)));
  return Object.fromEntries(found.map(([name, value]) => [name, Number(value)])) as { [name in K]?: number };
}

function resourcesOf({ template }: StackTemplate, type: string): TemplateResource[] {
  return Object.values(template.Resources ?? {}).filter(({ Type }) => Type === type);
}

/** Literal variables of all containers. */
function variablesOf({ Properties }: TemplateResource): Record<string, string> {
  // Anything in a template of somebody else's may be an intrinsic function, such as Fn::If.
  const listOf = (value: unknown) => (Array.isArray(value) ? value.filter(isObject) : []);
  const all = listOf(Properties?.ContainerDefinitions).flatMap(({ Environment }) => listOf(Environment));
  return Object.fromEntries(
    all.flatMap(({ Name, Value }) => (typeof Value === 'string' ? [[String(Name), Value]] : [])),
  );
}
