/**
 * Questions to AWS whose SDK clients this project does not have: signed requests of the JSON and Query protocols, and a few GETs. All of
 * them only read.
 */
import { type AwsRequest, sendToAws } from '../../lambda/common/aws-request.ts';
import { callAws } from '../../relay-task/common/aws-call.ts';
import type { AwsAgents } from '../../relay-task/ports.ts';
import { parseXml, type Xml } from './xml.ts';

/** `variable`: the end of `AWS_ENDPOINT_URL_…`, as the SDKs have it. */
const services = {
  cloudformation: { variable: 'CLOUDFORMATION', version: '2010-05-15' },
  ec2: { variable: 'EC2', version: '2016-11-15' },
  elasticloadbalancing: { variable: 'ELASTIC_LOAD_BALANCING_V2', version: '2015-12-01' },
  monitoring: { variable: 'CLOUDWATCH', version: '2010-08-01' },
  sns: { variable: 'SNS', version: '2010-03-31' },
  sts: { variable: 'STS', version: '2011-06-15' },
  acm: { variable: 'ACM', target: 'CertificateManager' },
  ecs: { variable: 'ECS', target: 'AmazonEC2ContainerServiceV20141113' },
  logs: { variable: 'CLOUDWATCH_LOGS', target: 'Logs_20140328' },
  servicequotas: { variable: 'SERVICE_QUOTAS', target: 'ServiceQuotasV20190624' },
  secretsmanager: { variable: 'SECRETS_MANAGER', target: 'secretsmanager' },
  kms: { variable: 'KMS', target: 'TrentService' },
  ecr: { variable: 'ECR', target: 'AmazonEC2ContainerRegistry_V20150921', host: 'api.ecr' },
  lambda: { variable: 'LAMBDA' },
  // One for all regions.
  route53: { variable: 'ROUTE_53', address: 'https://route53.amazonaws.com' },
} as const;

type Service = keyof typeof services;
type Speaking<Kind extends string> = {
  [Name in Service]: (typeof services)[Name] extends { readonly [one in Kind]: string } ? Name : never;
}[Service];

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export interface Aws {
  /** Of the Query protocol: the answer's root element. Lists are `Name.member.1`, `Name.member.2`, … in `input`. */
  query(
    service: Speaking<'version'>,
    region: string,
    action: string,
    input?: Readonly<Record<string, string>>,
  ): Promise<Xml>;
  /** Of the JSON protocol. */
  json<T>(service: Speaking<'target'>, region: string, operation: string, input: object): Promise<T>;
  /** A GET; `path` has its query. Resolves with the body. */
  get(service: 'lambda' | 'route53', region: string, path: string): Promise<string>;
}

export interface AwsOptions {
  /** May be asked again for each request, since they expire. */
  credentials(): Promise<Credentials>;
  readonly agents: AwsAgents | undefined;
  /** For `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_…`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborting it ends everything that is asked. */
  readonly signal?: AbortSignal | undefined;
  /** Of all requests, repetitions included. @default 1,000 */
  readonly maxRequests?: number;
}

const TIMEOUT_MS = 10_000;

/** Every answer that is an error rejects with an Error that has AWS's code as its name. */
export function createAws({ credentials, agents, env, signal, maxRequests = 1_000 }: AwsOptions): Aws {
  let requests = 0;

  async function send(service: Service, given: Pick<AwsRequest, 'region' | 'path' | 'headers' | 'body' | 'method'>) {
    const { variable, ...about } = services[service];
    const domain = given.region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
    const own = 'host' in about ? `https://${about.host}.${given.region}.${domain}` : undefined;
    const fixed = 'address' in about ? about.address : own;
    const endpoint = env[`AWS_ENDPOINT_URL_${variable}`] ?? env.AWS_ENDPOINT_URL ?? fixed;
    const options = {
      ...{ service: `${service} in ${given.region}`, timeoutMs: TIMEOUT_MS, signal },
      // Of people who look at a deployment, so a few repetitions are enough.
      ...{ retries: Number(env.AWS_MAX_ATTEMPTS ?? 3) - 1, backoff: { firstMs: 250, maxMs: 2_000 } },
      before() {
        requests += 1;
        if (requests > maxRequests) throw new Error(`gave up after ${maxRequests} requests to AWS`);
      },
    };
    return callAws(async () => {
      const { accessKeyId, secretAccessKey, sessionToken } = await credentials();
      const { status, headers, body } = await sendToAws(
        { ...given, service, endpoint, agents, timeoutMs: TIMEOUT_MS },
        {
          AWS_ACCESS_KEY_ID: accessKeyId,
          AWS_SECRET_ACCESS_KEY: secretAccessKey,
          AWS_SESSION_TOKEN: sessionToken,
        },
      );
      if (status < 200 || status > 299) throw errorOf(status, String(headers['x-amzn-errortype'] ?? ''), body);
      return body;
    }, options);
  }

  return {
    async query(service, region, action, input = {}) {
      const body = new URLSearchParams({ Action: action, Version: services[service].version, ...input }).toString();
      const headers = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' };
      return parseXml(await send(service, { region, path: '/', headers, body }));
    },
    async json<T>(service: Speaking<'target'>, region: string, operation: string, input: object) {
      const headers = {
        'content-type': 'application/x-amz-json-1.1',
        'x-amz-target': `${services[service].target}.${operation}`,
      };
      return JSON.parse(await send(service, { region, path: '/', headers, body: JSON.stringify(input) })) as T;
    },
    get: (service, region, path) => send(service, { region, path, headers: {}, body: '', method: 'GET' }),
  };
}

/** As an error of the SDK: its name is AWS's code. */
function errorOf(status: number, type: string, body: string): Error {
  const { code, message } = body.trimStart().startsWith('{') ? jsonError(body) : xmlError(body);
  // A code such as `com.amazonaws.ecs#ClusterNotFoundException:http://…`.
  const name = (type || code).replace(/^.*#/, '').replace(/:.*$/, '') || 'Error';
  return Object.assign(new Error(message || `AWS answered ${status}`), { name, $metadata: { httpStatusCode: status } });
}

function jsonError(body: string): { code: string; message: string } {
  try {
    const { __type, code, message, Message } = JSON.parse(body) as Record<string, unknown>;
    return { code: String(__type ?? code ?? ''), message: String(message ?? Message ?? '') };
  } catch {
    return { code: '', message: '' };
  }
}

function xmlError(body: string): { code: string; message: string } {
  const of = (name: string) => new RegExp(`<${name}>([^<]{0,2000})</${name}>`).exec(body)?.[1]?.trim() ?? '';
  return { code: of('Code'), message: of('Message') };
}
