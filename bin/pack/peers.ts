/** Throws an Error if the CDK is not installed, before a module of the package requires it. */
import { createRequire } from 'node:module';
import { join } from 'node:path';

const { resolve } = createRequire(join(import.meta.dirname, 'peers.js'));

for (const name of ['aws-cdk-lib', 'constructs']) {
  try {
    resolve(name);
  } catch {
    throw new Error(
      `The package ${name} is not installed, and edge-flag-relay/constructs needs it: npm install aws-cdk-lib constructs`,
    );
  }
}
