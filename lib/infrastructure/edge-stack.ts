import { Annotations, CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import * as cloudfront from 'aws-cdk-lib/aws-cloudfront';
import { CloudFrontTarget } from 'aws-cdk-lib/aws-route53-targets';
import type { Construct } from 'constructs';
import { flagKeysOf } from '../../lambda/edge-router/config.ts';
import { EdgeOrigins } from './edge-origins.ts';
import { EdgeRouter } from './edge-router.ts';
import type { IFlagTable } from './flag-table.ts';
import { certifies } from './hosted-zone.ts';
import { NamesInZone } from './names-in-zone.ts';
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

/** In us-east-1: the router's functions and, unless the site has one, a distribution. Its inputs are literals. */
export class EdgeStack extends Stack {
  readonly router: EdgeRouter;
  /** Absent if the site has one already, which others attach the functions to. */
  readonly distribution?: cloudfront.Distribution;
  readonly distributionId: string;
  /** The one given, or the one made in the hosted zone. */
  readonly certificateArn?: string | undefined;
  /** Whether the site has its own domain names, and so its own certificate. */
  readonly hasOwnName: boolean;

  constructor(scope: Construct, id: string, { stage, flagTable, edge, retain, ...props }: EdgeStackProps) {
    super(scope, id, props);
    const { certificateArn, distributionId, hostedZone, domainNames = [] } = edge;
    this.router = new EdgeRouter(this, 'Router', {
      stage,
      flagTable,
      edge,
      // A distribution of others uses a version until they attach the next one.
      retain: retain || distributionId !== undefined,
      monitoring: false,
    });
    for (const [what, value] of Object.entries(this.router.published)) new CfnOutput(this, outputName(what), { value });
    const names =
      hostedZone &&
      new NamesInZone(this, 'Names', {
        zone: hostedZone,
        names: domainNames,
        certificate: certificateArn === undefined && certifies(hostedZone),
      });
    this.certificateArn = certificateArn ?? names?.certificateArn;
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
    // Buckets belong to other stacks: docs/edge-router.md has the statement that their policies need.
    Annotations.of(this).acknowledgeWarning('@aws-cdk/aws-cloudfront-origins:updateImportedBucketPolicyOac');
    return new cloudfront.Distribution(this, 'Distribution', {
      comment: `edge-flag-relay ${stage}: viewers routed by ${flagKeysOf(edge).join(', ')}`.slice(0, 128),
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
  }
}

/** `viewer-request-arn` is the output ViewerRequestArn. */
function outputName(what: string): string {
  return what.replace(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
