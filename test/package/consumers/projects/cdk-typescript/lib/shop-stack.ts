import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import { Distribution } from 'aws-cdk-lib/aws-cloudfront';
import { HttpOrigin } from 'aws-cdk-lib/aws-cloudfront-origins';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import * as cdk from 'aws-cdk-lib/core';
import type { Construct } from 'constructs';
import { EdgeRouter, FlagReaderLayer, FlagTable, RelayService } from 'edge-flag-relay/constructs';

export class ShopStack extends cdk.Stack {
  constructor(scope: Construct, id: string, props?: cdk.StackProps) {
    super(scope, id, props);
    const flagTable = new FlagTable(this, 'FlagTable', { tableName: 'flags', replicaRegions: ['eu-west-1'] });
    new RelayService(this, 'Relay', {
      stage: 'shop',
      flagTable,
      vpc: Vpc.fromVpcAttributes(this, 'Vpc', {
        vpcId: 'vpc-0123456789abcdef0',
        availabilityZones: ['us-east-1a', 'us-east-1b'],
        privateSubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
      }),
      certificate: Certificate.fromCertificateArn(
        this,
        'Certificate',
        'arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012',
      ),
      expectedStreams: 1_000,
    });
    const router = new EdgeRouter(this, 'Router', {
      stage: 'shop',
      flagTable,
      edge: {
        prefix: 'production',
        flagKey: 'canary-checkout',
        origins: { stable: { domainName: 'stable.example.com' }, canary: { domainName: 'canary.example.com' } },
        defaultVariant: 'stable',
      },
      monitoring: false,
    });
    new Distribution(this, 'Distribution', {
      defaultBehavior: { origin: new HttpOrigin('stable.example.com'), ...router.behavior() },
    });
    new FlagReaderLayer(this, 'Reader', { stage: 'shop' });
  }
}
