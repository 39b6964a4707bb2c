/** What update-problems.ts must know of our resources beyond AWS's own rules: what stays, what is unique, and which property is to blame. */
import type { StackTemplate, TemplateResource } from './template.ts';

/** Types with data, or with an address that clients, viewers or other accounts use. */
export const KEPT_TYPES: ReadonlySet<string> = new Set([
  'AWS::CloudFront::Distribution',
  'AWS::DynamoDB::GlobalTable',
  'AWS::EC2::VPC',
  'AWS::ElastiCache::ServerlessCache',
  'AWS::ElasticLoadBalancingV2::LoadBalancer',
  'AWS::Logs::LogGroup',
  'AWS::S3::Bucket',
  'AWS::SNS::Topic',
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

/** A resource that a deployment removes, since the stage no longer asks for it. */
export function describeRemoved(
  { Type: type, Properties: properties = {}, DeletionPolicy: policy = 'Delete' }: TemplateResource,
  id: string,
  { stackName, region }: StackTemplate,
): Explained & { readonly refused: boolean } {
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
    default:
      return {
        refused: false,
        what: `${id} (${type}) of stack ${stackName} is ${retained ? 'left to itself: it stays, outside the stack' : 'deleted'}`,
        advice: 'make sure that nothing needs it any more',
      };
  }
}
