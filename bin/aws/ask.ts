/**
 * Questions to AWS whose SDK clients this project does not have: signed requests of the JSON and Query protocols, and a few GETs. All of
 * them only read.
 */
import { type AwsRequest, sendToAws } from '../../lambda/common/aws-request.ts';
import { callAws } from '../../relay-task/common/aws-call.ts';
import type { AwsAgents } from '../../relay-task/ports.ts';
import { listAt, parseXml, textAt, type Xml } from './xml.ts';

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
  elasticfilesystem: { variable: 'EFS' },
  route53: { variable: 'ROUTE_53' },
} as const;

/** Route 53 has one endpoint in each partition. AWS General Reference: "Amazon Route 53 endpoints and quotas". */
function route53In(region: string): { readonly region: string; readonly address: string } {
  if (region.startsWith('cn-')) return { region: 'cn-northwest-1', address: 'https://route53.amazonaws.com.cn' };
  if (region.startsWith('us-gov-')) return { region: 'us-gov-west-1', address: 'https://route53.us-gov.amazonaws.com' };
  return { region: 'us-east-1', address: 'https://route53.amazonaws.com' };
}

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
  json<T extends object>(service: Speaking<'target'>, region: string, operation: string, input: object): Promise<T>;
  /** A GET whose answer is JSON; `path` has its query. */
  getJson<T extends object>(service: 'lambda' | 'elasticfilesystem', region: string, path: string): Promise<T>;
  /** A GET whose answer is XML with this root; `path` has its query. `region`: any of the partition. */
  getXml(service: 'route53', region: string, path: string, root: string): Promise<Xml>;
}

export interface AwsOptions {
  /** May be asked again for each request, since they expire. */
  credentials(): Promise<Credentials>;
  readonly agents: AwsAgents | undefined;
  /** For `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_…`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborting it ends everything that is asked. */
  readonly signal?: AbortSignal | undefined;
  /** A request without an answer fails after this time. @default 10,000 */
  readonly timeoutMs?: number;
  /** Of all requests, repetitions included. @default 1,000 */
  readonly maxRequests?: number;
}

export const TIMEOUT_MS = 10_000;

/** Every answer that is an error rejects with an Error that has AWS's code as its name. */
export function createAws(options: AwsOptions): Aws {
  const { credentials, agents, env, signal, timeoutMs = TIMEOUT_MS, maxRequests = 1_000 } = options;
  let requests = 0;
  const attempts = attemptsOf(env.AWS_MAX_ATTEMPTS);

  async function send(
    service: Service,
    given: Pick<AwsRequest, 'region' | 'path' | 'headers' | 'body' | 'method'>,
    address?: string,
  ): Promise<string> {
    const { variable, ...about } = services[service];
    const domain = given.region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
    const own = 'host' in about ? `https://${about.host}.${given.region}.${domain}` : address;
    const endpoint = env[`AWS_ENDPOINT_URL_${variable}`] || env.AWS_ENDPOINT_URL || own;
    const limits = {
      ...{ service: `${service} in ${given.region}`, timeoutMs, signal },
      // People wait for the answer, so a few repetitions are enough. They only read, so that one without an answer is repeated, too.
      ...{ retries: attempts - 1, retryUnanswered: true, backoff: { firstMs: 250, maxMs: 2_000 } },
      before() {
        requests += 1;
        if (requests > maxRequests) throw new Error(`gave up after ${maxRequests} requests to AWS`);
      },
    };
    return callAws(async () => {
      const { accessKeyId, secretAccessKey, sessionToken } = await credentials();
      const { status, headers, body } = await sendToAws(
        { ...given, service, endpoint, agents, timeoutMs },
        {
          AWS_ACCESS_KEY_ID: accessKeyId,
          AWS_SECRET_ACCESS_KEY: secretAccessKey,
          AWS_SESSION_TOKEN: sessionToken,
        },
      );
      if (status < 200 || status > 299) {
        throw errorOf(`${service} in ${given.region}`, status, String(headers['x-amzn-errortype'] ?? ''), body);
      }
      return body;
    }, limits);
  }

  /** `read` throws for what AWS does not say: a proxy or a login page answers with 200, too. */
  async function answerOf<T>(service: Service, region: string, text: Promise<string>, read: (text: string) => T) {
    const body = await text;
    try {
      return read(body);
    } catch (error) {
      throw new NotAnAnswer(`${service} in ${region}`, (error as Error).message, { cause: error });
    }
  }

  return {
    async query(service, region, action, input = {}) {
      const body = new URLSearchParams({ Action: action, Version: services[service].version, ...input }).toString();
      const headers = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' };
      const sent = send(service, { region, path: '/', headers, body });
      return answerOf(service, region, sent, (text) => parseXml(text, `${action}Response`));
    },
    async json<T extends object>(service: Speaking<'target'>, region: string, operation: string, input: object) {
      const headers = {
        'content-type': 'application/x-amz-json-1.1',
        'x-amz-target': `${services[service].target}.${operation}`,
      };
      const sent = send(service, { region, path: '/', headers, body: JSON.stringify(input) });
      return answerOf(service, region, sent, objectIn<T>);
    },
    getJson: <T extends object>(service: 'lambda' | 'elasticfilesystem', region: string, path: string) =>
      answerOf(service, region, send(service, { region, path, headers: {}, body: '', method: 'GET' }), objectIn<T>),
    getXml(service, near, path, root) {
      const { region, address } = route53In(near);
      const sent = send(service, { region, path, headers: {}, body: '', method: 'GET' }, address);
      return answerOf(service, region, sent, (text) => parseXml(text, root));
    },
  };
}

/** An answer with status 200 that AWS would not give. */
export class NotAnAnswer extends Error {
  override readonly name = 'NotAnAnswer';
  constructor(who: string, why: string, options?: ErrorOptions) {
    super(`${who} answered with something that is not AWS’s (${why}): is a proxy or a login page in between?`, options);
  }
}

function objectIn<T extends object>(text: string): T {
  const found: unknown = JSON.parse(text);
  if (typeof found !== 'object' || found === null || Array.isArray(found)) throw new Error('not a JSON object');
  return found as T;
}

/** AWS_MAX_ATTEMPTS, as the SDKs have it; one that is no number of attempts leaves the default. */
function attemptsOf(text = ''): number {
  return /^[1-9]\d?$/.test(text) ? Number(text) : 3;
}

/** As an error of the SDK: its name is AWS's code. */
function errorOf(who: string, status: number, type: string, body: string): Error {
  const { code, message } = body.trimStart().startsWith('{') ? jsonError(body) : xmlError(body);
  // A code such as `com.amazonaws.ecs#ClusterNotFoundException:http://…`.
  const name = (type || code).replace(/^.*#/, '').replace(/:.*$/, '') || 'Error';
  return Object.assign(new Error(message || `${who} answered ${status}`), {
    name,
    $metadata: { httpStatusCode: status },
  });
}

function jsonError(body: string): { code: string; message: string } {
  try {
    // EFS calls its codes ErrorCode.
    const { __type, code, ErrorCode, message, Message } = JSON.parse(body) as Record<string, unknown>;
    return { code: String(__type ?? code ?? ErrorCode ?? ''), message: String(message ?? Message ?? '') };
  } catch {
    return { code: '', message: '' };
  }
}

function xmlError(body: string): { code: string; message: string } {
  // EC2 has a list of errors, the others have one.
  for (const [root, ...path] of [['ErrorResponse', 'Error'] as const, ['Response', 'Errors', 'Error'] as const]) {
    try {
      const [error] = listAt(parseXml(body, root), ...path);
      return { code: textAt(error, 'Code'), message: textAt(error, 'Message') };
    } catch {
      // Another shape, or a page of a proxy, of which the status is told.
    }
  }
  return { code: '', message: '' };
}
