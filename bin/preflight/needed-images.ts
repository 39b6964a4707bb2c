import type { Stage } from '../../lib/infrastructure/stages.ts';
import { httpRequest } from '../../relay-task/common/http-request.ts';
import type { OpenAws } from '../aws/open.ts';
import { MANIFEST_TYPES, type Manifest, manifestIn, parseImage, registryManifest } from './image-registry.ts';
import type { Needed, NeededOptions } from './needed-thing.ts';

const MAX_CONFIG_BYTES = 4 << 20;

/** Images of the stage file: they exist, and run on the tasks' processors. */
export function imagesOf({ relay }: Stage, open: OpenAws, { offline }: Pick<NeededOptions, 'offline'>): Needed[] {
  const { image, agent, architecture } = relay;
  const beside = agent && ('datadog' in agent ? agent.datadog.image : agent.otel.image);
  const images = [
    { at: 'relay.image', uri: image },
    { at: 'relay.agent', uri: beside },
  ];
  return images.flatMap(({ at, uri }): Needed[] => {
    if (uri === undefined) return [];
    const of = ecrImage(uri);
    if (of === undefined && offline) return [];
    const find = async () => {
      const found = of ? await ecrPlatforms(of, open) : await registryPlatforms(uri, open);
      return typeof found === 'string' ? found : platformProblem(found, architecture);
    };
    const { registry } = parseImage(uri);
    const what = { name: 'image', value: uri, what: `${at}: the image ${uri}` } as const;
    // The deployment lets tasks pull relay.image by the usual name alone.
    if (of && at === 'relay.image' && of.usualUri !== uri) {
      const problem = async () => `has a name of ECR’s by which tasks may not pull it: name it ${of.usualUri}`;
      return [{ ...what, region: of.region, find: problem }];
    }
    if (of) return [{ ...what, region: of.region, find }];
    return [{ ...what, region: registry, find, explain: (error) => explainRegistryError(error, registry) }];
  });
}

function explainRegistryError(error: unknown, registry: string): string {
  const without = '--offline leaves this out';
  const { message } = error as Error;
  if (error instanceof SyntaxError) {
    return `${registry} answered with something that is not a registry’s: is a proxy or a login page in between? ${without}`;
  }
  if (/ answered \d{3}/.test(message)) return `${message}: try again later. ${without}`;
  return `${message}: is ${registry} reachable from here, or does it need HTTPS_PROXY? ${without}`;
}

/** `linux/arm64`, … */
type Platforms = readonly string[];

function platformProblem(found: Platforms, architecture: 'arm64' | 'x86_64'): string | undefined {
  const wanted = `linux/${architecture === 'x86_64' ? 'amd64' : 'arm64'}`;
  if (found.includes(wanted)) return undefined;
  const other = architecture === 'x86_64' ? 'arm64' : 'x86_64';
  return `is for ${found.join(', ') || 'no platform'}, and tasks run ${wanted}: build it with --platform ${wanted}, or set relay.architecture: '${other}'`;
}

interface EcrImage {
  /** With the registry's usual host name. */
  readonly usualUri: string;
  readonly registryId: string;
  readonly region: string;
  readonly repositoryName: string;
  readonly imageIds: readonly [{ readonly imageTag: string } | { readonly imageDigest: string }];
}

/** What comes between an account and `/`: usual names and FIPS names, then those that have IPv6, too. AWS General Reference: "Amazon ECR endpoints". */
const ECR_HOSTS = [
  /^dkr\.ecr(?:-fips)?\.([a-z\d-]+)\.amazonaws\.com(?:\.cn)?$/,
  /^dkr-ecr(?:-fips)?\.([a-z\d-]+)\.on\.(?:aws|amazonwebservices\.com\.cn)$/,
];

function ecrImage(uri: string): EcrImage | undefined {
  const [, registryId, host = '', name, repositoryName, imageTag = 'latest', imageDigest] =
    /^(\d{12})\.([^/]+)\/(([^:@]+)(?::([^:@]+))?(?:@(.+))?)$/.exec(uri) ?? [];
  const region = ECR_HOSTS.map((one) => one.exec(host)?.[1]).find((one) => one !== undefined);
  if (registryId === undefined || region === undefined || repositoryName === undefined) return undefined;
  const domain = region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
  return {
    ...{ registryId, region, repositoryName, usualUri: `${registryId}.dkr.ecr.${region}.${domain}/${name}` },
    imageIds: [imageDigest === undefined ? { imageTag } : { imageDigest }],
  };
}

async function ecrPlatforms(
  { region, imageIds, registryId, repositoryName }: EcrImage,
  { aws, agentFor, signal }: OpenAws,
): Promise<Platforms> {
  const repository = { registryId, repositoryName };
  await aws.json('ecr', region, 'DescribeImages', { ...repository, imageIds });
  const input = { ...repository, imageIds, acceptedMediaTypes: MANIFEST_TYPES };
  const { images } = await aws.json<{ images?: { imageManifest?: string }[] }>('ecr', region, 'BatchGetImage', input);
  return platformsIn(manifestIn(images?.[0]?.imageManifest ?? ''), async (layerDigest) => {
    const where = { ...repository, layerDigest };
    const { downloadUrl = '' } = await aws.json<{ downloadUrl?: string }>(
      'ecr',
      region,
      'GetDownloadUrlForLayer',
      where,
    );
    const url = new URL(downloadUrl);
    const options = { url, agent: agentFor(url), timeoutMs: 10_000, maxAnswerBytes: MAX_CONFIG_BYTES, signal };
    const { status, body } = await httpRequest(options);
    if (status !== 200) throw new Error(`${url.host} answered ${status} for the image’s configuration`);
    return body.toString();
  });
}

/** A text: what is wrong. */
async function registryPlatforms(uri: string, open: OpenAws): Promise<Platforms | string> {
  const found = await registryManifest(parseImage(uri), open);
  return 'problem' in found ? found.problem : platformsIn(found.manifest, found.blob);
}

/** OCI image-spec: an index names the platforms, a single image only in its configuration. */
async function platformsIn(manifest: Manifest, blob: (digest: string) => Promise<string>): Promise<Platforms> {
  const named = (one: { os?: string; architecture?: string } = {}) => `${one.os}/${one.architecture}`;
  // Attestations of a build are for `unknown`.
  if (manifest.manifests)
    return manifest.manifests.map(({ platform }) => named(platform)).filter((one) => !/unknown/.test(one));
  if (manifest.config === undefined) throw new Error('its manifest is of an unknown format');
  return [named(JSON.parse(await blob(manifest.config.digest)) as { os?: string; architecture?: string })];
}
