import { RemovalPolicy } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { StringParameter } from 'aws-cdk-lib/aws-ssm';
import { Construct } from 'constructs';
import { bundleDirectory } from './own-bundles.ts';
import { checkStageName } from './relay-contract.ts';

export interface FlagReaderLayerProps {
  /** Part of the name of its SSM parameter. */
  readonly stage: string;
  /** @default CloudFormation's */
  readonly layerVersionName?: string;
}

/** The SSM parameter with the ARN of the newest version, in each region. */
export function layerParameterName(stage: string): string {
  return `/edge-flag-relay/${stage}/reader-layer-arn`;
}

/**
 * The edge reader as a layer for Lambda functions in this region: `import { createReader } from 'edge-flag-reader'`.
 * Old versions are retained: functions that use them could not be updated otherwise.
 */
export class FlagReaderLayer extends Construct {
  readonly layer: lambda.LayerVersion;
  readonly parameter: StringParameter;

  constructor(scope: Construct, id: string, { stage, layerVersionName }: FlagReaderLayerProps) {
    super(scope, id);
    checkStageName(this, stage);
    this.layer = new lambda.LayerVersion(this, 'Layer', {
      ...(layerVersionName !== undefined && { layerVersionName }),
      description: 'LaunchDarkly flags from the flag table',
      code: lambda.Code.fromAsset(bundleDirectory('reader-layer')),
      compatibleRuntimes: [lambda.Runtime.NODEJS_22_X, lambda.Runtime.NODEJS_24_X],
      compatibleArchitectures: [lambda.Architecture.ARM_64, lambda.Architecture.X86_64],
      removalPolicy: RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
    });
    this.parameter = new StringParameter(this, 'Arn', {
      parameterName: layerParameterName(stage),
      description: 'The reader as a Lambda layer, newest version',
      stringValue: this.layer.layerVersionArn,
    });
  }
}
