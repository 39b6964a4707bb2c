import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App } from 'aws-cdk-lib';
import { RelayStage } from '../../lib/infrastructure/relay-stage.ts';
import type { Stage } from '../../lib/infrastructure/stages.ts';
import type { StackTemplate } from '../../lib/infrastructure/template.ts';
import { cdkContext } from '../stage-of.ts';

/** The stage's templates, as `cdk synth` makes them. Takes some seconds. Throws what synthesis throws. */
export function synthesise(stage: Stage): StackTemplate[] {
  const outdir = mkdtempSync(join(tmpdir(), 'edge-flag-relay-preflight-'));
  try {
    const options = { builtinCloudFormationValidation: false, analyticsReporting: false };
    const app = new App({ outdir, context: { ...cdkContext() }, ...options });
    return new RelayStage(app, stage.name, stage).synth().stacks.map(({ stackName, environment, template }) => ({
      ...{ stackName, region: environment.region, template },
    }));
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
}
