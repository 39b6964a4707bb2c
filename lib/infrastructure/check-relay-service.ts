import { Token } from 'aws-cdk-lib';
import { inLines } from '../../lambda/edge-router/check-config.ts';
import {
  describeAgentProblem,
  describeFargateProblem,
  forwardsEvents,
  managedVariables,
  otherSources,
  redisVariables,
  spoolVariables,
} from './relay-contract.ts';
import type { Relay } from './stage.ts';
import { Problems, type Read } from './stage-readers.ts';
import { metricsPort, plainRelaySettings, spoolMiB } from './stage-schema.ts';
import type { AgentSettings, RelaySettings } from './stage-settings.ts';

/** What the construct's properties are called instead of a stage file's. */
const HERE: Readonly<Record<string, string>> = {
  TLS_ENABLED: 'set certificate: TLS ends at the load balancer',
  HEARTBEAT_INTERVAL: 'set heartbeat',
  KEYS_FROM_SSM: 'the path contains the stage; secrets.AUTO_CONFIG_KEY is another source of environments',
  DYNAMODB_TABLE: 'set flagTable',
  AWS_REGION: 'it is the region of the stack',
  STORE_WRITER: 'only the relay in the home region of flagTable writes',
};

interface Checked extends Pick<RelaySettings, keyof typeof plainRelaySettings | 'prometheus'> {
  readonly agent?: AgentSettings<unknown>;
  readonly secrets?: Readonly<Record<string, unknown>>;
  readonly redis?: object;
  readonly eventsSpool?: { readonly maxMiB?: number };
}

/**
 * Checks the properties of a relay as those of a stage file, but those that may be tokens. Throws one Error that lists every problem: what
 * is wrong would otherwise show in the middle of a deployment, or never. `relay` is what they are with their defaults.
 */
export function checkRelayService(path: string, props: Checked, relay: Relay): void {
  const problems = new Problems();
  for (const [name, read] of Object.entries(plainRelaySettings) as [keyof typeof plainRelaySettings, Read<unknown>][]) {
    const value = props[name];
    if (value === undefined) continue;
    if (Token.isUnresolved(value))
      problems.say(name, `${name} must be a literal, since other properties follow from it`);
    else read(value, name, problems);
  }
  const { agent, prometheus, secrets = {}, variables = {}, redis, eventsSpool } = props;
  if (agent && 'otel' in agent && (agent.otel.endpoint === undefined) === (agent.otel.config === undefined)) {
    problems.say('agent.otel', 'agent.otel needs either endpoint or config');
  }
  if (prometheus?.port !== undefined) metricsPort(prometheus.port, 'prometheus.port', problems);
  if (eventsSpool?.maxMiB !== undefined) spoolMiB(eventsSpool.maxMiB, 'eventsSpool.maxMiB', problems);
  if (eventsSpool && !forwardsEvents(relay.variables)) {
    problems.say(
      'variables.USE_EVENTS',
      'variables.USE_EVENTS must be true, or left out: eventsSpool keeps events that the relay forwards',
    );
  }
  if (problems.list().length === 0) {
    if (relay.maxTasks < relay.tasks) {
      problems.mustBe('maxTasks', relay.maxTasks, `at least ${relay.tasks}, the number of tasks that always run`);
    }
    const size =
      describeFargateProblem(relay.cpu, relay.memoryMiB) ?? describeAgentProblem({ memoryMiB: relay.memoryMiB, agent });
    if (size !== undefined) problems.mustBe('memoryMiB', relay.memoryMiB, size);
  }
  for (const [group, given] of Object.entries({ variables, secrets })) {
    for (const name of Object.keys(given)) {
      const at = `${group}.${name}`;
      const managed = Object.hasOwn(managedVariables, name)
        ? (HERE[name] ?? managedVariables[name]?.replaceAll('relay.', ''))
        : redis && redisVariables.includes(name)
          ? 'set redis'
          : eventsSpool && spoolVariables.includes(name)
            ? 'set eventsSpool'
            : undefined;
      if (managed !== undefined) problems.say(at, `${at} is set by the construct: ${managed}`);
      else if (group === 'secrets' && Object.hasOwn(variables, name)) {
        problems.say(at, `${at} is also in variables: remove one of them`);
      }
    }
  }
  const named = { ...variables, ...secrets };
  const sources = otherSources.filter((name) => Object.hasOwn(named, name));
  if (sources.length > 1) problems.say('variables', `${sources.join(' and ')}: a relay has one source of environments`);
  if (problems.list().length > 0)
    throw new Error(`${path}: ${inLines(problems.list().map((message) => ({ message })))}`);
}
