/** Options of a stage that the shipped stages do not use: what each adds, in stages that combine those that do not interact. */
import type { Template } from 'aws-cdk-lib/assertions';
import { readStage } from '../../../lib/infrastructure/parse-stage.ts';
import { managedVariables, otherSources, redisVariables } from '../../../lib/infrastructure/relay-contract.ts';
import type { StageSettings } from '../../../lib/infrastructure/stage-settings.ts';
import { parseConfig } from '../../../relay-task/config/config.ts';
import { settings, settingsIn } from '../../../relay-task/config/settings.ts';
import { asStarted, propertiesOf, taskOf } from '../../support/relay-task.ts';
import { type Synthesised, shipped, synthesise } from '../../support/synthesise.ts';

const small: StageSettings = { ...shipped.dev, edge: undefined, readerLayer: false, environments: [] };

const variants = {
  /** For somebody who has Prometheus, a Redis Cluster and auto-configuration. */
  prometheus: {
    ...small,
    redis: { url: 'rediss://cache.example.com:6380', cluster: true },
    relay: {
      prometheus: { namespace: 'flags.internal' },
      secrets: { AUTO_CONFIG_KEY: '/mine/auto-config-key' },
    },
  },
} satisfies Record<string, StageSettings>;

const made = new Map<string, Synthesised>();

/** Synthesised once, when it is asked for. */
export function variant(name: keyof typeof variants): Synthesised {
  const known = made.get(name) ?? synthesise(name, variants[name]);
  made.set(name, known);
  return known;
}

/** The relay of a variant: its template, container and variables. */
function relayOf(name: keyof typeof variants) {
  const template = variant(name).template('Relay');
  return { template, ...taskOf(template) };
}

/** What may reach which port of tasks: address ranges, or the kind of what is named. */
function mayReachTasks(template: Template): [port: unknown, from: unknown][] {
  const groups = Object.entries(template.findResources('AWS::EC2::SecurityGroup'));
  const [, group] = groups.find(([id]) => id.startsWith('RelayServiceSecurityGroup'))!;
  const inline = (group.Properties.SecurityGroupIngress ?? []) as { FromPort: number; CidrIp: string }[];
  const rules = propertiesOf(template, 'AWS::EC2::SecurityGroupIngress').filter(({ GroupId }) =>
    JSON.stringify(GroupId).includes('RelayServiceSecurityGroup'),
  );
  return [
    ...inline.map(({ FromPort, CidrIp }): [unknown, unknown] => [FromPort, CidrIp]),
    ...rules.map(({ FromPort, CidrIp }): [unknown, unknown] => [FromPort, CidrIp ?? 'a security group']),
  ];
}

/** The error for a small stage with these changes. */
function messageOf(changes: object): string {
  try {
    readStage('x', { ...small, ...changes });
  } catch (error) {
    return (error as Error).message;
  }
  return 'accepted';
}

describe('a variable that the app decides', () => {
  test.each([...Object.entries(managedVariables), ...redisVariables.map((name) => [name, 'set redis'] as const)])(
    '%s is refused, with what to do instead: %s',
    (name, instead) => {
      const said = messageOf({ redis: { serverless: {} }, relay: { variables: { [name]: '1' } } });
      expect(said).toBe(`stage x: relay.variables.${name} is set by the app: ${instead}`);
      const known = new Set<string>([...settingsIn(settings).map(({ env }) => env), 'HOME', 'NODE_OPTIONS']);
      expect(known).toContain(name);
    },
  );

  test('is decided by a property that exists', () => {
    const properties = Object.values(managedVariables).flatMap((why) => [...why.matchAll(/\bset ([\w.]+\w)/g)]);
    expect(properties.length).toBeGreaterThan(8);
    for (const [, property = ''] of properties) {
      // An unknown property is named; a wrong value is another message.
      const nested = property.split('.').reduceRight<unknown>((inner, name) => ({ [name]: inner }), 0);
      expect(messageOf(nested as object)).not.toContain('is unknown');
    }
  });

  test('is free where nothing decides it: Sentinels without `redis`', () => {
    const sentinels = { USE_REDIS: 'true', REDIS_SENTINELS: 'a:26379', REDIS_SENTINEL_MASTER: 'flags' };
    expect(messageOf({ relay: { variables: sentinels } })).toBe('accepted');
  });
});

describe('relay.prometheus', () => {
  test('opens a port of every task to the VPC, and makes the tasks known by name', () => {
    const { template, container, environment } = relayOf('prometheus');
    expect(environment).toMatchObject({ USE_PROMETHEUS: 'true', PROMETHEUS_PORT: '8031' });
    expect(container).toMatchObject({ PortMappings: [{ ContainerPort: 8030 }, { ContainerPort: 8031 }] });
    expect(mayReachTasks(template)).toEqual(
      expect.arrayContaining([
        [8031, '10.0.0.0/16'],
        [8030, 'a security group'],
      ]),
    );
    template.hasResourceProperties('AWS::ServiceDiscovery::PrivateDnsNamespace', { Name: 'flags.internal' });
    template.hasResourceProperties('AWS::ServiceDiscovery::Service', {
      Name: 'relay',
      DnsConfig: { DnsRecords: [{ Type: 'A', TTL: 10 }] },
    });
  });

  test.each([
    [{ port: 8030 }, 'relay.prometheus.port=8030 is invalid: expected another port than 8030'],
    [{ allowedCidrs: ['everyone'] }, 'relay.prometheus.allowedCidrs[0]="everyone" is invalid: expected a CIDR block'],
  ])('%j is refused', (prometheus, message) => {
    expect(messageOf({ relay: { prometheus } })).toContain(message);
  });
});

describe('auto-configuration', () => {
  test('replaces the keys in SSM as the source, and keeps environments apart in the table', () => {
    const { environment } = relayOf('prometheus');
    expect(environment).not.toHaveProperty('KEYS_FROM_SSM');
    const { config, warnings } = parseConfig(asStarted(environment));
    expect(warnings).toEqual([]);
    expect(config.autoConfig).toMatchObject({ prefix: '$CID' });
    expect(config.redis).toMatchObject({ cluster: [{ host: 'cache.example.com', port: 6380 }] });
  });

  test('is one source of environments, beside which there is no other', () => {
    const both = { variables: { FILE_DATA_SOURCE: '/data.tar.gz' }, secrets: { AUTO_CONFIG_KEY: '/mine/key' } };
    expect(messageOf({ relay: both })).toContain(`${otherSources.join(' and ')}: a relay has one source`);
  });
});
