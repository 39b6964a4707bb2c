/** The relay's container in a template. */
import type { Template } from 'aws-cdk-lib/assertions';

interface Container {
  readonly Command: readonly string[];
  readonly Environment: readonly { readonly Name: string; readonly Value: unknown }[];
  readonly HealthCheck: { readonly Command: readonly string[] };
  readonly Image: unknown;
  readonly LogConfiguration: unknown;
  readonly Secrets: readonly unknown[];
  readonly StopTimeout: number;
}

/** The container in CloudFormation and its variables; a value that is known only at deployment reads as `<token>`. */
export function taskOf(template: Template): { container: Container; environment: Record<string, string> } {
  const [task] = Object.values(template.findResources('AWS::ECS::TaskDefinition'));
  const [container] = task!.Properties.ContainerDefinitions as [Container];
  const environment = container.Environment.map(({ Name, Value }) => [
    Name,
    typeof Value === 'string' ? Value : '<token>',
  ]);
  return { container, environment: Object.fromEntries(environment) };
}

export function propertiesOf(template: Template, type: string): Record<string, unknown>[] {
  return Object.values(template.findResources(type)).map(({ Properties }) => Properties);
}

/** A list of `Key` and `Value` as a map. */
export function attributesOf(properties: Record<string, unknown> | undefined, name: string): Record<string, string> {
  return Object.fromEntries(
    (properties![name] as { Key: string; Value: string }[]).map(({ Key, Value }) => [Key, Value]),
  );
}

/** A task's variables as ECS starts it: its cache has an address, and its secrets have values. */
export function asStarted(environment: Record<string, string>): Record<string, string | undefined> {
  const autoConfigKey = ['rel', '01234567', '89ab', 'cdef', '0123', '456789abcdef'].join('-');
  return {
    ...environment,
    REDIS_URL: environment.REDIS_URL?.replace('<token>', 'rediss://cache:6379'),
    ...(environment.KEYS_FROM_SSM === undefined && { AUTO_CONFIG_KEY: autoConfigKey }),
  };
}
