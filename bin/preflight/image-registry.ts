/** Images in registries other than ECR's private ones, by the OCI distribution API, without credentials, as tasks pull them. */
import { type HttpAnswer, httpRequest } from '../../relay-task/common/http-request.ts';
import type { OpenAws } from '../aws/open.ts';

export const MANIFEST_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];

export interface Manifest {
  readonly manifests?: readonly { readonly platform?: { readonly os?: string; readonly architecture?: string } }[];
  readonly config?: { readonly digest: string };
}

export interface ImageName {
  /** `ghcr.io`. */
  readonly registry: string;
  readonly repository: string;
  /** A tag or a digest. */
  readonly reference: string;
}

const MAX_BYTES = 4 << 20;

/** As Docker reads names: without a host it is Docker Hub's, and there without a folder `library/…`. */
export function parseImage(uri: string): ImageName {
  const [, path = uri, tag = 'latest', digest] = /^(.+?)(?::([\w.-]+))?(?:@(\w+:\w+))?$/.exec(uri) ?? [];
  const [first = '', ...rest] = path.split('/');
  const isHost = rest.length > 0 && /[.:]|^localhost$/.test(first);
  const reference = digest ?? tag;
  if (isHost && first !== 'docker.io') return { registry: first, repository: rest.join('/'), reference };
  const name = isHost ? rest.join('/') : path;
  return { registry: 'registry-1.docker.io', repository: name.includes('/') ? name : `library/${name}`, reference };
}

export function manifestIn(text: string): Manifest {
  const found: unknown = JSON.parse(text);
  if (typeof found !== 'object' || found === null) throw new Error('its manifest is not a JSON object');
  return found as Manifest;
}

export type FoundManifest =
  | { readonly manifest: Manifest; blob(digest: string): Promise<string> }
  | { readonly problem: string };

/** Rejects when the registry cannot be asked, or answers with something else. */
export async function registryManifest(
  { registry, repository, reference }: ImageName,
  { agentFor, signal }: Pick<OpenAws, 'agentFor' | 'signal'>,
): Promise<FoundManifest> {
  // Docker, too, speaks plain HTTP to a registry on the same machine.
  const scheme = /^(localhost|127\.0\.0\.1)(:|$)/.test(registry) ? 'http' : 'https';
  const base = `${scheme}://${registry}/v2/${repository}`;
  const get = (address: string, headers: Record<string, string>) => {
    const url = new URL(address);
    return httpRequest({ url, headers, agent: agentFor(url), timeoutMs: 10_000, maxAnswerBytes: MAX_BYTES, signal });
  };
  const accept = { accept: MANIFEST_TYPES.join(', ') };
  const address = `${base}/manifests/${reference}`;
  let authorization: Record<string, string> = {};
  let answer = await get(address, accept);
  if (answer.status === 401) {
    const token = await tokenFor(answer, get);
    if (token === undefined) return { problem: needsCredentials(registry) };
    authorization = { authorization: `Bearer ${token}` };
    answer = await get(address, { ...accept, ...authorization });
  }
  if (answer.status === 404) return { problem: `does not exist in ${registry}` };
  if (answer.status === 401 || answer.status === 403) return { problem: needsCredentials(registry) };
  if (answer.status !== 200) throw new Error(`${registry} answered ${answer.status}`);
  const blob = async (digest: string) => {
    let found = await get(`${base}/blobs/${digest}`, authorization);
    // To where they are stored, which must not get the token.
    const { location } = found.headers;
    if (found.status > 300 && found.status < 400 && location) found = await get(new URL(location, base).href, {});
    if (found.status !== 200) throw new Error(`${registry} answered ${found.status} for the image’s configuration`);
    return found.body.toString();
  };
  return { manifest: manifestIn(answer.body.toString()), blob };
}

function needsCredentials(registry: string): string {
  return `does not exist in ${registry}, or needs credentials, which tasks have for ECR alone: push it to ECR`;
}

/** Distribution specification: "Token authentication". Undefined where anonymous pulls are not allowed. */
async function tokenFor(
  { headers }: HttpAnswer,
  get: (address: string, headers: Record<string, string>) => Promise<HttpAnswer>,
): Promise<string | undefined> {
  const challenge = headers['www-authenticate'] ?? '';
  const of = (name: string) => new RegExp(`${name}="([^"]*)"`, 'i').exec(challenge)?.[1];
  const realm = of('realm');
  if (!/^bearer /i.test(challenge) || realm === undefined || !/^https?:\/\//.test(realm)) return undefined;
  const url = new URL(realm);
  for (const name of ['service', 'scope']) {
    const value = of(name);
    if (value !== undefined) url.searchParams.set(name, value);
  }
  const { status, body } = await get(url.href, {});
  if (status !== 200) return undefined;
  const { token, access_token } = JSON.parse(body.toString()) as { token?: string; access_token?: string };
  return token ?? access_token;
}
