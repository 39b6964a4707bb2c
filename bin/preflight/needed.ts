/** What a stage file refers to and does not make: secrets, keys, topics, images, file systems. Without them no task starts, or the deployment rolls back. */
import type { Stage } from '../../lib/infrastructure/stages.ts';
import { explainAwsError } from '../aws/explain.ts';
import type { OpenAws } from '../aws/open.ts';
import { bad, type Check, good, inTurns, unknown } from '../checks/check.ts';
import { fileSystemsOf } from './needed-file-systems.ts';
import { imagesOf } from './needed-images.ts';
import { keysOf, topicsOf } from './needed-keys.ts';
import { secretsOf } from './needed-secrets.ts';
import type { Needed, NeededOptions } from './needed-thing.ts';

/** Errors by which AWS says that there is no such thing. */
const ABSENT =
  /^(NotFound|NotFoundException|ResourceNotFoundException|RepositoryNotFoundException|ImageNotFoundException|AccessPointNotFound|FileSystemNotFound)$/;

/** Each thing exists and can be used, where the relay of each region will look for it. */
export async function neededChecks(stage: Stage, open: OpenAws, options: NeededOptions): Promise<Check[]> {
  const all = [
    ...secretsOf(stage, open, options),
    ...keysOf(stage, open, options),
    ...topicsOf(stage, open, options),
    ...imagesOf(stage, open, options),
    ...fileSystemsOf(stage, open),
  ];
  const checks = await inTurns(
    all,
    async ({ name, value, what, find, advice = adviceOn(name) }) => {
      const problem = await find();
      return problem === undefined ? [] : [bad(name, value, `${what} ${problem}`, advice)];
    },
    ({ name, value, what, region, explain = (one: unknown) => explainAwsError(one, region) }, error) =>
      ABSENT.test((error as Error).name)
        ? bad(name, value, `${what} does not exist in ${region}`, adviceOn(name))
        : unknown(name, value, `cannot look at ${what} in ${region}`, explain(error)),
  );
  if (checks.length > 0 || all.length === 0) return checks;
  return [
    good(
      'needed',
      String(all.length),
      `all ${all.length} secrets, keys, topics, images and file systems of the stage file exist`,
    ),
  ];
}

function adviceOn(name: Needed['name']): string {
  if (name === 'secret') return 'put it there, or correct its name in the stage file: without it no task starts';
  if (name === 'image') return 'push it first, or correct it in the stage file: without it no task starts';
  if (name === 'file-system')
    return 'correct it in the stage file (docs/deploying.md#a-disk-for-events): no task starts without it';
  if (name === 'topic')
    return 'correct it, or its policy and key: alarms would not reach it (docs/deploying.md#kms-keys-of-your-own)';
  return 'correct it or its policy (docs/deploying.md#kms-keys-of-your-own): the deployment would be rolled back';
}
