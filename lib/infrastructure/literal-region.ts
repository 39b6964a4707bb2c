import { Stack, Token } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';

/** The region of a construct's stack. Throws an Error if it is not a literal. */
export function literalRegion(scope: IConstruct, what: string): string {
  const { region, stackName } = Stack.of(scope);
  if (Token.isUnresolved(region))
    throw new Error(`${what} needs a stack with a region: give ${stackName} an env.region`);
  return region;
}
