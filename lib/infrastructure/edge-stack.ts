import { Annotations, CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import * as cloudfront from 'aws-cdk-lib/aws-cloudfront';
import type { Construct } from 'constructs';
import { EdgeOrigins } from './edge-origins.ts';
import { EdgeRouter } from './edge-router.ts';
import type { IFlagTable } from './flag-table.ts';
import type { EdgeSettings } from './stage-settings.ts';

export interface EdgeStackProps extends StackProps {
  readonly stage: string;
  readonly flagTable: IFlagTable;
  readonly edge: EdgeSettings;
  readonly retain: boolean;
}

const priceClasses = {
  '100': cloudfront.PriceClass.PRICE_CLASS_100,
  '200': cloudfront.PriceClass.PRICE_CLASS_200,
  all: cloudfront.PriceClass.PRICE_CLASS_ALL,
} as const;

/** In us-east-1: the router's functions and a distribution for the stage's origins. Its inputs are literals. */
export class EdgeStack extends Stack {
  readonly router: EdgeRouter;
  readonly distribution: cloudfront.Distribution;
  /** Whether the site has its own domain names, and so its own certificate. */
  readonly hasOwnName: boolean;

  constructor(scope: Construct, id: string, { stage, flagTable, edge, retain, ...props }: EdgeStackProps) {
    super(scope, id, props);
    this.router = new EdgeRouter(this, 'Router', { stage, flagTable, edge, retain });
    const {
      certificateArn,
      domainNames,
      priceClass = 'all',
      webAclArn,
      behavior = {},
      behaviors = [],
      defaultRootObject,
    } = edge;
    const origins = new EdgeOrigins(this, 'Origins', edge);
    // Buckets belong to other stacks: docs/edge.md has the statement that their policies need.
    Annotations.of(this).acknowledgeWarning('@aws-cdk/aws-cloudfront-origins:updateImportedBucketPolicyOac');
    this.hasOwnName = certificateArn !== undefined;
    this.distribution = new cloudfront.Distribution(this, 'Distribution', {
      comment: `edge-flag-relay ${stage}: viewers routed by ${edge.flagKey}`,
      defaultBehavior: { origin: origins.of(behavior), ...this.router.behavior(behavior) },
      additionalBehaviors: Object.fromEntries(
        behaviors.map(({ path, ...one }) => [path, { origin: origins.of(one), ...this.router.behavior(one) }]),
      ),
      ...(defaultRootObject && { defaultRootObject }),
      httpVersion: cloudfront.HttpVersion.HTTP2_AND_3,
      priceClass: priceClasses[priceClass],
      ...(webAclArn && { webAclId: webAclArn }),
      ...(certificateArn && {
        certificate: Certificate.fromCertificateArn(this, 'Certificate', certificateArn),
        domainNames: [...(domainNames ?? [])],
        minimumProtocolVersion: cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
      }),
    });
    new CfnOutput(this, 'DistributionAddress', { value: this.distribution.distributionDomainName });
    new CfnOutput(this, 'DistributionArn', { value: this.distribution.distributionArn });
  }
}
