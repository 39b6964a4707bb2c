/**
 * A cloud assembly: what `cdk synth` leaves in `cdk.out`. Read without the CDK, so that the commands work beside any version of it.
 * https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.cx_api.CloudAssembly.html
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve, sep } from 'node:path';
import type { StackTemplate, Template } from '../lib/infrastructure/template.ts';
import { isObject } from '../relay-task/common/json.ts';

/** `cx_api`: how an environment says that a stack may go anywhere. */
const UNKNOWN_ACCOUNT = 'unknown-account';
const UNKNOWN_REGION = 'unknown-region';

export interface AssemblyStack extends StackTemplate {
  /** Undefined if the stack names none. */
  readonly account: string | undefined;
}

/** The stacks of an app, or of one `Stage` of it. */
export interface Assembly {
  readonly stacks: readonly AssemblyStack[];
}

interface Manifest {
  readonly artifacts?: Readonly<
    Record<
      string,
      {
        readonly type: string;
        /** `aws://<account>/<region>` */
        readonly environment?: string;
        readonly properties?: {
          readonly templateFile?: string;
          readonly stackName?: string;
          readonly directoryName?: string;
        };
      }
    >
  >;
}

/** The assembly of the directory and, each for itself, those of its `Stage`s. Throws an Error that names the file. */
export function readAssemblies(directory: string): Assembly[] {
  const file = join(directory, 'manifest.json');
  if (!existsSync(file)) throw new Error(`there is no ${file}: run npx cdk synth first`);
  const manifest = parse(file);
  if (!isManifest(manifest)) throw new Error(`${file} is not what cdk synth writes: run npx cdk synth again`);
  const { artifacts = {} } = manifest;
  const all = Object.entries(artifacts);
  const stacks = all.flatMap(([id, { type, environment = '', properties = {} }]) => {
    if (type !== 'aws:cloudformation:stack' || properties.templateFile === undefined) return [];
    const stackName = properties.stackName ?? id;
    const [, account, region] = /^aws:\/\/([^/]+)\/(.+)$/.exec(environment) ?? [];
    if (region === undefined || region === UNKNOWN_REGION) {
      throw new Error(`${file}: the stack ${stackName} names no region: give it a literal one in env`);
    }
    return [
      {
        stackName,
        region,
        account: account === UNKNOWN_ACCOUNT ? undefined : account,
        template: parseTemplate(join(directory, properties.templateFile)),
      },
    ];
  });
  const nested = all.flatMap(([, { type, properties }]) =>
    type === 'cdk:cloud-assembly' && properties?.directoryName !== undefined
      ? readAssemblies(folderIn(directory, properties.directoryName))
      : [],
  );
  return [{ stacks }, ...nested];
}

function isManifest(value: unknown): value is Manifest {
  if (!isObject(value)) return false;
  const { artifacts = {} } = value;
  return (
    isObject(artifacts) &&
    Object.values(artifacts).every((one) => isObject(one) && (one.properties === undefined || isObject(one.properties)))
  );
}

function parseTemplate(file: string): Template {
  const template = parse(file);
  const resources = isObject(template) ? (template.Resources ?? {}) : undefined;
  if (!isObject(resources) || !Object.values(resources).every(isObject))
    throw new Error(`${file} is no CloudFormation template`);
  return template as Template;
}

/** The assembly of a `Stage` is below that of its app. One that is not could be this one again, without an end. */
function folderIn(directory: string, name: string): string {
  const folder = join(directory, name);
  if (!resolve(folder).startsWith(`${resolve(directory)}${sep}`))
    throw new Error(`${join(directory, 'manifest.json')} names ${JSON.stringify(name)}, which is not below it`);
  return folder;
}

function parse(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`${file} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}
