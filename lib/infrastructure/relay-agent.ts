import { Size } from 'aws-cdk-lib';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import type { ILogGroup } from 'aws-cdk-lib/aws-logs';
import { Secret as StoredSecret } from 'aws-cdk-lib/aws-secretsmanager';
import { StringParameter } from 'aws-cdk-lib/aws-ssm';
import { Construct } from 'constructs';
import { imageFrom } from './container-image.ts';
import { agentImages, agentOf } from './relay-contract.ts';
import type { AgentSettings, DatadogSettings, OtelSettings } from './stage-settings.ts';

export interface RelayAgentProps {
  readonly agent: AgentSettings<SecretSource>;
  readonly stage: string;
  readonly task: ecs.FargateTaskDefinition;
  readonly relay: ecs.ContainerDefinition;
  /** Where the relay serves its metrics. */
  readonly metricsPort: number;
  readonly logGroup: ILogGroup;
}

/**
 * A Datadog agent or an OpenTelemetry collector in the relay's task. Containers of a task share the loopback interface, so it reads the
 * relay's Prometheus metrics there, and nobody else needs to reach their port. The task goes on without it: an agent must never end a relay.
 */
export class RelayAgent extends Construct {
  constructor(scope: Construct, id: string, props: RelayAgentProps) {
    super(scope, id);
    const { agent, stage, task, relay, metricsPort, logGroup } = props;
    const address = `localhost:${metricsPort}`;
    const { image, environment, secrets, labels } =
      'datadog' in agent ? datadog(agent.datadog, stage, address) : otel(agent.otel, stage, address);
    for (const [name, value] of Object.entries(labels)) relay.addDockerLabel(name, value);
    task.addContainer('agent', {
      image: imageFrom(this, image),
      environment,
      containerName: 'agent',
      secrets: Object.fromEntries(
        Object.entries(secrets).map(([variable, source]) => [variable, secretFrom(this, variable, source)]),
      ),
      essential: false,
      memoryLimitMiB: agentOf(agent).memoryMiB,
      logging: ecs.LogDrivers.awsLogs({
        logGroup,
        streamPrefix: 'agent',
        mode: ecs.AwsLogDriverMode.NON_BLOCKING,
        maxBufferSize: Size.mebibytes(1),
      }),
    });
  }
}

/** An SSM parameter's name, the ARN of a secret, or a secret of the CDK's. */
export type SecretSource = string | ecs.Secret;

interface AgentParts {
  readonly image: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Variables, each with where its value is. */
  readonly secrets: Readonly<Record<string, SecretSource>>;
  /** Of the relay's container. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Datadog: "Amazon ECS on AWS Fargate"; "Docker integrations autodiscovery", for the label. */
function datadog(settings: DatadogSettings<SecretSource>, stage: string, address: string): AgentParts {
  const { image = agentImages.datadog, site = 'datadoghq.com', tags = [], apiKey } = settings;
  const instance = { openmetrics_endpoint: `http://${address}/metrics`, namespace: 'edge_flag_relay', metrics: ['.+'] };
  return {
    image,
    environment: {
      ECS_FARGATE: 'true',
      DD_SITE: site,
      DD_TAGS: [`stage:${stage}`, ...tags].join(' '),
      // The relay sends neither traces nor DogStatsD.
      DD_APM_ENABLED: 'false',
      DD_USE_DOGSTATSD: 'false',
    },
    secrets: { DD_API_KEY: apiKey },
    labels: { 'com.datadoghq.ad.checks': JSON.stringify({ openmetrics: { init_config: {}, instances: [instance] } }) },
  };
}

/** AWS's distribution reads its configuration, YAML or JSON, from AOT_CONFIG_CONTENT. AWS: "Setting up ADOT on Amazon ECS". */
function otel(settings: OtelSettings<SecretSource>, stage: string, address: string): AgentParts {
  const { image = agentImages.otel, endpoint, headers = {}, secrets = {}, config } = settings;
  const variableOf = (name: string) => `HEADER_${name.toUpperCase().replaceAll('-', '_')}`;
  const names = Object.keys(headers);
  const made = {
    receivers: {
      prometheus: {
        config: {
          scrape_configs: [
            { job_name: 'edge-flag-relay', scrape_interval: '30s', static_configs: [{ targets: [address] }] },
          ],
        },
      },
    },
    processors: {
      memory_limiter: { check_interval: '1s', limit_percentage: 75, spike_limit_percentage: 20 },
      resourcedetection: { detectors: ['env', 'ecs'] },
      resource: { attributes: [{ key: 'deployment.environment.name', value: stage, action: 'upsert' }] },
      batch: {},
    },
    exporters: {
      otlphttp: { endpoint, headers: Object.fromEntries(names.map((name) => [name, `\${env:${variableOf(name)}}`])) },
    },
    service: {
      pipelines: {
        metrics: {
          receivers: ['prometheus'],
          processors: ['memory_limiter', 'resourcedetection', 'resource', 'batch'],
          exporters: ['otlphttp'],
        },
      },
    },
  };
  return {
    image,
    environment: { AOT_CONFIG_CONTENT: config ?? JSON.stringify(made) },
    secrets: { ...Object.fromEntries(names.map((name) => [variableOf(name), headers[name]!])), ...secrets },
    labels: {},
  };
}

/** The value of an SSM parameter, by its name, or of Secrets Manager, by ARN with or without a field of its JSON. */
export function secretFrom(scope: Construct, id: string, source: SecretSource): ecs.Secret {
  if (typeof source !== 'string') return source;
  const [, arn, field] = /^(arn:[^:]+:secretsmanager:[^:]+:[^:]+:secret:[^:]+)(?::(.+))?$/.exec(source) ?? [];
  if (arn !== undefined) {
    return ecs.Secret.fromSecretsManager(StoredSecret.fromSecretCompleteArn(scope, `Secret${id}`, arn), field);
  }
  const parameter = { parameterName: source };
  return ecs.Secret.fromSsmParameter(
    StringParameter.fromSecureStringParameterAttributes(scope, `Secret${id}`, parameter),
  );
}
