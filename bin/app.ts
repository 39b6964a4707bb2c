/** The CDK app: `npx cdk synth 'dev/*' -c stage=dev`. Only the stage asked for is built. */
import { App } from 'aws-cdk-lib';
import { RelayStage } from '../lib/infrastructure/relay-stage.ts';
import { parseStage, stages } from '../lib/infrastructure/stages.ts';

const app = new App();
const name = app.node.tryGetContext('stage') ?? 'dev';
try {
  new RelayStage(app, name, parseStage(name, stages, app.node.tryGetContext('stages')));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
