/** CDK apps in fresh projects. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { npmProject, type Project, projectIn, projects } from './fresh-project.ts';

interface Asset {
  readonly source: { readonly path?: string; readonly directory?: string };
}

interface Resource {
  readonly Type: string;
  readonly Properties: Record<string, unknown>;
}

export interface Synthesised {
  readonly resources: readonly Resource[];
  /** The folders and files that are uploaded, and those from which images are built. */
  readonly assets: readonly string[];
}

/** `npx cdk synth`, with another `app` than that of cdk.json if it is given. */
export async function synthesise(
  { folder, run }: Project,
  env: Readonly<Record<string, string>> = {},
  app?: string,
): Promise<Synthesised> {
  const output = join(folder, 'cdk.out');
  rmSync(output, { recursive: true, force: true });
  await run('npx', ['cdk', 'synth', '--quiet', '--no-notices', '--no-lookups', ...(app ? ['--app', app] : [])], env);
  const read = (name: string) => JSON.parse(readFileSync(join(output, name), 'utf8'));
  const resources = namesIn(output, '.template.json').flatMap((name) => Object.values<Resource>(read(name).Resources));
  const assets = namesIn(output, '.assets.json').flatMap((name) => {
    const { files = {}, dockerImages = {} } = read(name) as Record<string, Record<string, Asset>>;
    return [...Object.values(files), ...Object.values(dockerImages)].map(({ source }) =>
      join(output, source.path ?? source.directory ?? ''),
    );
  });
  return { resources, assets };
}

const namesIn = (folder: string, ending: string) => readdirSync(folder).filter((name) => name.endsWith(ending));

/** What `cdk init app --language typescript` makes, with a stack of ours and the line of its comment that names a region. */
export async function initialisedApp(): Promise<Project> {
  const project = await npmProject('shop', 'cdk');
  const made = join(project.folder, 'init/shop');
  mkdirSync(made, { recursive: true });
  const cdk = join(project.folder, 'node_modules/.bin/cdk');
  await projectIn(made).run(cdk, ['init', 'app', '--language', 'typescript', '--generate-only']);
  for (const name of readdirSync(made)) {
    if (name !== 'package.json') cpSync(join(made, name), join(project.folder, name), { recursive: true });
  }
  rmSync(join(project.folder, 'init'), { recursive: true });
  cpSync(join(projects, 'cdk-typescript'), project.folder, { recursive: true });
  const app = join(project.folder, 'bin/shop.ts');
  const region = "env: { account: '123456789012', region: 'us-east-1' },";
  const text = readFileSync(app, 'utf8');
  if (!text.includes(`// ${region}`)) throw new Error(`the CDK's template no longer has the line // ${region}`);
  writeFileSync(app, text.replace(`// ${region}`, region));
  return project;
}
