import { type CfnResource, RemovalPolicy } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';

/**
 * Whether a resource stays when its stack is deleted; in no case when the deployment that creates it fails. CloudFormation ignores an update of
 * nothing but deletion policies, so that what comes to be retained would go on being deleted with its stack: metadata changes, too. AWS:
 * "Modify a stack template", attributes that cannot be updated by themselves.
 */
export function setRetained(construct: IConstruct, retain: boolean): void {
  const resource = construct.node.defaultChild as CfnResource;
  resource.applyRemovalPolicy(retain ? RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE : RemovalPolicy.DESTROY);
  resource.addMetadata('edge-flag-relay:retained', retain);
}
