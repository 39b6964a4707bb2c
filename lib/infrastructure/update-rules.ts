/** What update-problems.ts must know of our resources beyond AWS's own rules: what stays, what is unique, and which property is to blame. */
import { type StackTemplate, type TemplateResource, textOf } from './template.ts';

/** Types with data, or with an address that clients, viewers or other accounts use. */
export const KEPT_TYPES: ReadonlySet<string> = new Set([
  'AWS::CertificateManager::Certificate',
  'AWS::CloudFront::Distribution',
  'AWS::DynamoDB::GlobalTable',
  'AWS::EC2::VPC',
  'AWS::EFS::FileSystem',
  'AWS::ElastiCache::ServerlessCache',
  'AWS::ElasticLoadBalancingV2::LoadBalancer',
  'AWS::Logs::LogGroup',
  'AWS::Route53::RecordSet',
  'AWS::S3::Bucket',
  'AWS::SNS::Topic',
  'AWS::ServiceDiscovery::PrivateDnsNamespace',
]);

/**
 * Properties that must be unique together, of types that AWS identifies by something of its own. A resource has no name if one of
 * them is missing.
 */
export const NAMES: Readonly<Record<string, readonly string[]>> = {
  'AWS::CloudFront::CachePolicy': ['CachePolicyConfig.Name'],
  'AWS::CloudFront::OriginAccessControl': ['OriginAccessControlConfig.Name'],
  'AWS::CloudFront::OriginRequestPolicy': ['OriginRequestPolicyConfig.Name'],
  'AWS::EC2::Route': ['RouteTableId', 'DestinationCidrBlock'],
  'AWS::EC2::SecurityGroup': ['VpcId', 'GroupName'],
  'AWS::EC2::SubnetRouteTableAssociation': ['SubnetId'],
  'AWS::ECS::Service': ['Cluster', 'ServiceName'],
  'AWS::ElasticLoadBalancingV2::Listener': ['LoadBalancerArn', 'Port'],
  'AWS::ElasticLoadBalancingV2::ListenerRule': ['ListenerArn', 'Priority'],
  'AWS::ElasticLoadBalancingV2::LoadBalancer': ['Name'],
  'AWS::ElasticLoadBalancingV2::TargetGroup': ['Name'],
  'AWS::Events::Rule': ['Name'],
  'AWS::SNS::Topic': ['TopicName'],
  'AWS::WAFv2::WebACL': ['Scope', 'Name'],
};

interface Explained {
  readonly what: string;
  readonly advice: string;
}

type Told = Explained & { readonly refused: boolean };

/** A change that a stage cannot make, by the property of the stage. Undefined if we know of no property that would cause it. */
export function changeRefused(type: string, property: string, region: string): Explained | undefined {
  switch (`${type} ${property}`) {
    case 'AWS::DynamoDB::GlobalTable TableName':
      return {
        what: 'tableName cannot change: the table would be replaced by an empty one, and edge functions would read the old one',
        advice: 'deploy a stage of another name with the new table, move applications over, then delete this one',
      };
    case 'AWS::EC2::VPC CidrBlock':
      return {
        what: `networks.${region}.cidr cannot change: the VPC and every address in it would be replaced`,
        advice: `deploy a stage of another name, or use another VPC by networks.${region}.vpc in it, and move applications over`,
      };
    case 'AWS::ElastiCache::ServerlessCache SubnetIds':
      return {
        what: `networks.${region}.zones cannot lose a zone in which Redis is: the cache would be replaced, and its address with it`,
        advice: 'keep the first two zones, or leave redis out, deploy, and add it again',
      };
    default:
      return undefined;
  }
}

/** A resource of KEPT_TYPES that a deployment replaces, because `property` changes. Undefined if nobody notices. */
export function describeReplaced(
  id: string,
  was: TemplateResource,
  is: TemplateResource,
  property: string,
  { stackName, region }: StackTemplate,
): Told | undefined {
  const { Properties: before = {} } = was;
  const { Properties: after = {} } = is;
  const { ServerlessCacheName: formerCache } = before;
  const { ServerlessCacheName: cache } = after;
  switch (is.Type) {
    case 'AWS::ElastiCache::ServerlessCache':
      // The relay's cache is named after its key, so that the new one can exist beside the old one.
      if (textOf(formerCache) === textOf(cache)) break;
      return {
        refused: false,
        what: `encryptionKeys.${region}: Redis is replaced by the cache ${cache}, which has another address and which the relay fills; ${formerCache} is deleted`,
        advice: `give SDKs in daemon mode the new address: aws elasticache describe-serverless-caches --region ${region} --serverless-cache-name ${cache}`,
      };
    case 'AWS::EFS::FileSystem':
      if (property !== 'KmsKeyId') break;
      return {
        refused: false,
        what: `encryptionKeys.${region}: the events spool of stack ${stackName} is replaced by an empty one, and events that wait in it ${fateOf(was.UpdateReplacePolicy)}`,
        advice: SPOOL_ADVICE,
      };
    case 'AWS::CertificateManager::Certificate': {
      // The new one is in use before the old one is deleted.
      const names = certifiedNames(is);
      const lost = certifiedNames(was).filter((name) => !names.includes(name) && !names.includes(wildcardOf(name)));
      if (lost.length === 0) return undefined;
      return {
        refused: false,
        what: `the certificate for ${before.DomainName} of stack ${stackName} is replaced by one for ${after.DomainName}, without ${lost.join(', ')}`,
        advice: 'move clients to names of the new certificate at that time',
      };
    }
    case 'AWS::Route53::RecordSet':
      return {
        refused: false,
        what: `the record ${recordName(was)} of stack ${stackName} is replaced by ${recordName(is)}, since ${property} changes`,
        advice: 'move clients at that time',
      };
    case 'AWS::ServiceDiscovery::PrivateDnsNamespace':
      return {
        refused: false,
        what: `relay.prometheus.namespace: the private DNS namespace ${before.Name} of stack ${stackName} is replaced by ${after.Name}`,
        advice: 'give Prometheus the new name',
      };
  }
  const general: Explained = {
    what: `${id} (${was.Type}) of stack ${stackName} would be replaced, since ${property} changes`,
    advice: 'keep it as it is, or deploy another stage and move over',
  };
  return { refused: true, ...(changeRefused(was.Type, property, region) ?? general) };
}

const SPOOL_ADVICE = 'deploy while LaunchDarkly accepts events, when the metric EventsSpoolAge of all relays is near 0';

function fateOf(policy = 'Delete'): string {
  return policy.startsWith('Retain') ? 'stay there: it is left to itself, with no mount target' : 'are deleted with it';
}

function certifiedNames({ Properties: { DomainName: first, SubjectAlternativeNames: others } = {} }: TemplateResource) {
  return [first, ...(Array.isArray(others) ? others : [])].map(String);
}

/** `*.example.com` for `www.example.com`. */
function wildcardOf(name: string): string {
  return name.replace(/^[^.]+/, '*');
}

/** `www.example.com (AAAA)`. */
function recordName({ Properties: { Name: name, Type: type } = {} }: TemplateResource): string {
  return `${String(name).replace(/\.$/, '')} (${type})`;
}

/** A resource that a deployment removes, since the stage no longer asks for it. */
export function describeRemoved(resource: TemplateResource, id: string, { stackName, region }: StackTemplate): Told {
  const { Type: type, Properties: properties = {}, DeletionPolicy: policy = 'Delete' } = resource;
  const retained = policy.startsWith('Retain');
  switch (type) {
    case 'AWS::DynamoDB::GlobalTable':
      return {
        refused: true,
        what: `the flag table would leave stack ${stackName}${retained ? ' (it is retained)' : ' with everything in it'}`,
        advice: "keep table: 'new', or follow the steps for moving home in docs/deploying.md",
      };
    case 'AWS::EC2::VPC':
      return {
        refused: true,
        what: `networks.${region}.vpc cannot change: load balancers cannot move to another VPC`,
        advice: 'deploy a stage of another name in the other VPC, and move applications over',
      };
    case 'AWS::ElasticLoadBalancingV2::LoadBalancer': {
      const locked = JSON.stringify(properties).includes('{"Key":"deletion_protection.enabled","Value":"true"}');
      return {
        refused: locked,
        what: `${id} is removed, and its address with it${locked ? ', but it is protected from deletion' : ''}`,
        advice: locked ? 'deploy with protected: false first' : 'move its clients first',
      };
    }
    case 'AWS::Route53::RecordSet':
      return {
        refused: false,
        what: `the record ${recordName(resource)} of stack ${stackName} is deleted, and clients with that name no longer find this address`,
        advice: 'move them to another name first, or make a record of your own as soon as it is gone',
      };
    case 'AWS::CertificateManager::Certificate':
      return {
        refused: false,
        what: `the certificate for ${properties.DomainName} of stack ${stackName} is deleted`,
        advice: 'make sure that no client needs its names, or give a certificate for them',
      };
    case 'AWS::EFS::FileSystem':
      return {
        refused: false,
        what: `relay.eventsSpool: the file system of stack ${stackName} leaves it, and events that wait in it ${fateOf(policy)}`,
        advice: SPOOL_ADVICE,
      };
    case 'AWS::ServiceDiscovery::PrivateDnsNamespace':
      return {
        refused: false,
        what: `relay.prometheus.namespace: the private DNS namespace ${properties.Name} of stack ${stackName} is deleted`,
        advice: 'let Prometheus find the tasks in another way first',
      };
    default:
      return {
        refused: false,
        what: `${id} (${type}) of stack ${stackName} is ${retained ? 'left to itself: it stays, outside the stack' : 'deleted'}`,
        advice: 'make sure that nothing needs it any more',
      };
  }
}
