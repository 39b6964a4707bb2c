import { Annotations, CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import * as cloudfront from 'aws-cdk-lib/aws-cloudfront';
import { CloudFrontTarget } from 'aws-cdk-lib/aws-route53-targets';
import { Construct } from 'constructs';
import { flagKeysOf } from '../../lambda/edge-router/config.ts';
import { behaviorOf } from './edge-behavior.ts';
import { EdgeOrigins } from './edge-origins.ts';
import { publishedFunctions } from './edge-parameters.ts';
import { EdgePolicies } from './edge-policies.ts';
import type { BehaviorSettings } from './edge-settings.ts';
import { certifies } from './hosted-zone.ts';
import { NamesInZone, zoneFrom } from './names-in-zone.ts';
import type { EdgeSettings } from './stage-settings.ts';

export interface EdgeStackProps extends StackProps {
  readonly stage: string;
  readonly edge: EdgeSettings;
}

const priceClasses = {
  '100': cloudfront.PriceClass.PRICE_CLASS_100,
  '200': cloudfront.PriceClass.PRICE_CLASS_200,
  all: cloudfront.PriceClass.PRICE_CLASS_ALL,
} as const;

/**
 * In us-east-1: the distribution, unless the site has one, and what watches it. Its functions are in a stack that is deployed before, and
 * reach it through SSM: an export would prevent publishing a new version.
 */
export class EdgeStack extends Stack {
  /** Absent if the site has one already, which others attach the functions to. */
  readonly distribution?: cloudfront.Distribution;
  readonly distributionId: string;
  /** The one given, or the one made in the hosted zone. */
  readonly certificateArn?: string | undefined;
  /** Whether the site has its own domain names, and so its own certificate. */
  readonly hasOwnName: boolean;

  constructor(scope: Construct, id: string, { stage, edge, ...props }: EdgeStackProps) {
    super(scope, id, props);
    const { certificateArn, distributionId, hostedZone, domainNames = [] } = edge;
    const names =
      hostedZone &&
      new NamesInZone(this, 'Names', {
        zone: zoneFrom(this, 'Zone', hostedZone),
        names: domainNames,
        certificate: certificateArn === undefined && certifies(hostedZone),
      });
    this.certificateArn = certificateArn ?? names?.certificate?.certificateArn;
    this.hasOwnName = this.certificateArn !== undefined;
    if (distributionId === undefined) {
      this.distribution = this.createDistribution(stage, { ...edge, certificateArn: this.certificateArn });
      names?.leadTo(new CloudFrontTarget(this.distribution), { ipv6: true });
      new CfnOutput(this, 'DistributionAddress', { value: this.distribution.distributionDomainName });
      new CfnOutput(this, 'DistributionArn', { value: this.distribution.distributionArn });
    }
    this.distributionId = distributionId ?? this.distribution!.distributionId;
  }

  private createDistribution(
    stage: string,
    edge: Omit<EdgeSettings, 'certificateArn'> & { readonly certificateArn: string | undefined },
  ): cloudfront.Distribution {
    const { certificateArn, domainNames, priceClass = 'all', webAclArn, defaultRootObject } = edge;
    const { behavior = {}, behaviors = [] } = edge;
    const origins = new EdgeOrigins(this, 'Origins', edge);
    const policies = new EdgePolicies(this, 'Policies', { name: `edge-flag-relay-${stage}_site` });
    const edgeLambdas = publishedFunctions(new Construct(this, 'Functions'), stage);
    const behaviorTo = (one: BehaviorSettings) => ({
      origin: origins.of(one),
      ...behaviorOf(one, edge, { policies, edgeLambdas }),
    });
    // Buckets belong to other stacks: docs/edge-router.md has the statement that their policies need.
    Annotations.of(this).acknowledgeWarning('@aws-cdk/aws-cloudfront-origins:updateImportedBucketPolicyOac');
    return new cloudfront.Distribution(this, 'Distribution', {
      comment: `edge-flag-relay ${stage}: viewers routed by ${flagKeysOf(edge).join(', ')}`.slice(0, 128),
      defaultBehavior: behaviorTo(behavior),
      additionalBehaviors: Object.fromEntries(behaviors.map(({ path, ...one }) => [path, behaviorTo(one)])),
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
  }
}
