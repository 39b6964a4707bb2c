import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { EdgeRouter } from './edge-router.ts';
import type { IFlagTable } from './flag-table.ts';
import type { EdgeSettings } from './stage-settings.ts';

export interface EdgeFunctionsStackProps extends StackProps {
  readonly stage: string;
  readonly flagTable: IFlagTable;
  readonly edge: EdgeSettings;
}

/**
 * In us-east-1: the router's functions, for the distribution in the edge stack or elsewhere. CloudFront removes the copies of a function only hours
 * after a distribution last used it, and until then it cannot be deleted. In one stack with the distribution, neither a failed
 * deployment could be rolled back nor the distribution be removed in one go.
 */
export class EdgeFunctionsStack extends Stack {
  readonly router: EdgeRouter;

  constructor(scope: Construct, id: string, { stage, flagTable, edge, ...props }: EdgeFunctionsStackProps) {
    super(scope, id, props);
    // Not retained: AWS deletes no function that is in use, and one that stayed without its stack would keep its name from the next.
    this.router = new EdgeRouter(this, 'Router', {
      ...{ stage, flagTable, edge, policyName: `edge-flag-relay-${stage}` },
      ...{ retain: false, monitoring: false },
    });
    for (const [what, value] of Object.entries(this.router.published)) new CfnOutput(this, outputName(what), { value });
  }
}

/** `viewer-request-arn` is the output ViewerRequestArn. */
function outputName(what: string): string {
  return what.replace(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
