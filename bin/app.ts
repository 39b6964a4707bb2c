/** The CDK app: `npx cdk synth 'dev/*' -c stage=dev`. Only the stage asked for is built. */
import { App } from 'aws-cdk-lib';
import { inClone } from '../lib/command-text.ts';
import { RelayStage } from '../lib/infrastructure/relay-stage.ts';
import { parseStage } from '../lib/infrastructure/stages.ts';
import { stageFiles } from './stage-of.ts';

const app = new App();
const name = app.node.tryGetContext('stage') ?? (inClone ? 'dev' : undefined);
try {
  new RelayStage(app, name, parseStage(name, stageFiles, app.node.tryGetContext('stages')));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
