import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import * as cloudfront from 'aws-cdk-lib/aws-cloudfront';
import { HttpOrigin } from 'aws-cdk-lib/aws-cloudfront-origins';
import type { Construct } from 'constructs';
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
    const { certificateArn, domainNames, priceClass = 'all', webAclArn, defaultVariant, origins } = edge;
    const { domainName, protocol = 'https', port, path } = origins[defaultVariant]!;
    this.hasOwnName = certificateArn !== undefined;
    this.distribution = new cloudfront.Distribution(this, 'Distribution', {
      comment: `edge-flag-relay ${stage}: viewers routed by ${edge.flagKey}`,
      defaultBehavior: {
        // origin-request chooses the origin of each request, but CloudFront resolves this one first.
        origin: new HttpOrigin(domainName, {
          protocolPolicy:
            protocol === 'https'
              ? cloudfront.OriginProtocolPolicy.HTTPS_ONLY
              : cloudfront.OriginProtocolPolicy.HTTP_ONLY,
          originSslProtocols: [cloudfront.OriginSslPolicy.TLS_V1_2],
          ...(path && { originPath: path }),
          ...(port && (protocol === 'https' ? { httpsPort: port } : { httpPort: port })),
        }),
        edgeLambdas: this.router.edgeLambdas,
        cachePolicy: this.router.cachePolicy,
        viewerProtocolPolicy: cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
        allowedMethods: cloudfront.AllowedMethods.ALLOW_ALL,
        compress: true,
      },
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
  }
}
