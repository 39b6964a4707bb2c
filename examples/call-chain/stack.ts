import { join } from 'node:path';
import { CfnOutput, Duration, Stack, type StackProps } from 'aws-cdk-lib';
import { FunctionUrlAuthType, Runtime } from 'aws-cdk-lib/aws-lambda';
import { NodejsFunction } from 'aws-cdk-lib/aws-lambda-nodejs';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';
import { type IFlagTable, nearestReplicas } from 'edge-flag-relay/constructs';
import type { ServiceSettings } from './settings.ts';

export interface CallChainStackProps extends StackProps {
  readonly flagTable: IFlagTable;
  /** The environment in the table. */
  readonly prefix: string;
}

/**
 * Both services with function URLs that anybody can call. That is for trying it out: in production, let `world` require IAM authentication. The
 * secret's value is in the functions' settings, and whoever can read it can sign decisions.
 */
export class CallChainStack extends Stack {
  constructor(scope: Construct, id: string, { flagTable, prefix, ...props }: CallChainStackProps) {
    super(scope, id, props);
    const { tableName, homeRegion, replicaRegions } = flagTable;
    const secret = new Secret(this, 'ChainSecret', {
      description: 'Signs the decisions that travel with calls',
      generateSecretString: { passwordLength: 48, excludePunctuation: true },
    });
    const settings: ServiceSettings = {
      reader: { tableName, prefix, replicas: nearestReplicas(homeRegion, replicaRegions) },
      keys: [{ id: 'first', secret: secret.secretValue.unsafeUnwrap() }],
      namespace: 'CallChain',
    };
    const service = (name: string, environment: Record<string, string> = {}) => {
      const created = new NodejsFunction(this, name, {
        entry: join(import.meta.dirname, `${name.toLowerCase()}.entry.ts`),
        runtime: Runtime.NODEJS_24_X,
        memorySize: 256,
        timeout: Duration.seconds(10),
        environment: { SETTINGS: this.toJsonString(settings), ...environment },
      });
      flagTable.grantRead(created, { prefix });
      return created.addFunctionUrl({ authType: FunctionUrlAuthType.NONE }).url;
    };
    const worldUrl = service('World');
    new CfnOutput(this, 'HelloUrl', { value: service('Hello', { WORLD_URL: worldUrl }) });
  }
}
