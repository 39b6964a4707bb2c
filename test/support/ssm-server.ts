/**
 * SSM's Parameter Store on 127.0.0.1 and a free port: the JSON 1.1 protocol of the seven operations that we use, with
 * pages, versions, types and errors as in the API reference, and with the faults that tests need.
 * https://docs.aws.amazon.com/systems-manager/latest/APIReference/
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { keptConnections } from './kept-connections.ts';

interface SsmCall {
  /** `GetParametersByPath`, … */
  readonly operation: string;
  /** Names asked for, or the path. */
  readonly names: readonly string[];
  /** Whether values were to be decrypted. */
  readonly decrypted: boolean;
  /** A further page of a listing. */
  readonly continued: boolean;
}

interface StoredParameter {
  readonly name: string;
  readonly type: 'String' | 'StringList' | 'SecureString';
  readonly value: string;
  readonly version: number;
  /** Unix ms. */
  readonly modifiedAt: number;
  readonly keyId?: string;
}

export interface SsmServer {
  readonly endpoint: string;
  /** All calls, oldest first; a live list that `length = 0` empties. */
  readonly calls: SsmCall[];
  /** By full name; a live map for tests to look at. */
  readonly parameters: ReadonlyMap<string, StoredParameter>;
  /** As PutParameter with Overwrite. By default SecureString for names that end in `key`. */
  put(name: string, value: string, options?: { type?: StoredParameter['type']; modifiedAt?: number }): void;
  delete(name: string): void;
  /** Answers the next `times` calls with ThrottlingException. */
  throttle(times: number): void;
  /** From now on answers so many calls a second, as many at once after a rest, and the others with ThrottlingException. */
  limit(perSecond: number): void;
  /** How many calls were not throttled by `limit`. */
  admitted(): number;
  /** Answers with ThrottlingException, or as to a token that has expired, what this says of a call. */
  faultWhen(fault: (call: SsmCall) => 'throttled' | 'expired' | undefined): void;
  /** Answers this operation, or every one, with AccessDeniedException. */
  deny(operation?: string): void;
  /** These parameters cannot be decrypted: a call with one of them fails as a whole, as with KMS. */
  forbid(...names: string[]): void;
  /** Answers everything, or what asks for one of these parameters by name, with InternalServerError. */
  break(...names: string[]): void;
  /** Accepts this operation's requests, or all, and never answers. */
  hang(operation?: string): void;
  /** Delays every response by this many ms. */
  slow(delayMs: number): void;
  /** Refuses connections and cuts those that are open. */
  down(): void;
  /** Runs before every response, to change parameters during a read. */
  before(run: ((call: SsmCall) => void) | undefined): void;
  /** Ends all faults. */
  heal(): void;
  close(): Promise<void>;
}

type Body = Record<string, unknown>;
type Answer = { status: number; body: Body };

const account = '123456789012';
const region = 'eu-west-1';
const secure = /(^|\/)(sdk-key|previous-sdk-key|mobile-key)$/;

const fail = (type: string, message: string, status = 400): Answer => ({ status, body: { __type: type, message } });

export async function startSsmServer(): Promise<SsmServer> {
  const parameters = new Map<string, StoredParameter>();
  const calls: SsmCall[] = [];
  const forbidden = new Set<string>();
  let throttles = 0;
  let tokens: { perSecond: number; left: number; at: number } | undefined;
  let admitted = 0;
  let faultOf: Parameters<SsmServer['faultWhen']>[0] = () => undefined;
  let denied: ((operation: string) => boolean) | undefined;
  let broken = (_names: readonly string[]) => false;
  let hanging: ((operation: string) => boolean) | undefined;
  let isDown = false;
  let delayMs = 0;
  let listener: ((call: SsmCall) => void) | undefined;

  const put: SsmServer['put'] = (
    name,
    value,
    { type = secure.test(name) ? 'SecureString' : 'String', modifiedAt } = {},
  ) => {
    const version = (parameters.get(name)?.version ?? 0) + 1;
    parameters.set(name, { name, type, value, version, modifiedAt: modifiedAt ?? Date.now() });
  };

  const shown = (parameter: StoredParameter, decrypted: boolean): Body => ({
    ARN: `arn:aws:ssm:${region}:${account}:parameter${parameter.name}`,
    DataType: 'text',
    LastModifiedDate: parameter.modifiedAt / 1000,
    Name: parameter.name,
    Type: parameter.type,
    Value: parameter.type === 'SecureString' && !decrypted ? 'AQICAHciphertext==' : parameter.value,
    Version: parameter.version,
  });

  const operations: Record<string, (body: Body) => Answer> = {
    GetParametersByPath(body) {
      const path = String(body.Path).replace(/\/$/, '');
      const size = Number(body.MaxResults ?? 10);
      if (size < 1 || size > 10) return fail('ValidationException', 'MaxResults must be between 1 and 10');
      const below = [...parameters.values()]
        .filter(({ name }) => name.startsWith(`${path}/`))
        .filter(({ name }) => body.Recursive === true || !name.slice(path.length + 1).includes('/'))
        .sort((a, b) => (a.name < b.name ? -1 : 1));
      // The token is the start of the page, so that pages of a changing folder do not overlap, as in AWS.
      const after = body.NextToken === undefined ? '' : Buffer.from(String(body.NextToken), 'base64').toString();
      const rest = below.filter(({ name }) => name > after);
      const page = rest.slice(0, size);
      if (body.WithDecryption === true && page.some(({ name }) => forbidden.has(name))) return undecryptable();
      const NextToken = rest.length > size ? Buffer.from(page.at(-1)!.name).toString('base64') : undefined;
      const Parameters = page.map((one) => shown(one, body.WithDecryption === true));
      return { status: 200, body: { Parameters, ...(NextToken && { NextToken }) } };
    },
    GetParameters(body) {
      const names = body.Names as string[];
      if (names.length > 10) return fail('ValidationException', 'Member must have length less than or equal to 10');
      if (body.WithDecryption === true && names.some((name) => forbidden.has(name))) return undecryptable();
      const found = names.flatMap((name) => parameters.get(name) ?? []);
      const Parameters = found.map((one) => shown(one, body.WithDecryption === true));
      return { status: 200, body: { Parameters, InvalidParameters: names.filter((name) => !parameters.has(name)) } };
    },
    GetParameter(body) {
      const found = parameters.get(String(body.Name));
      if (found === undefined) return fail('ParameterNotFound', '');
      if (body.WithDecryption === true && forbidden.has(found.name)) return undecryptable();
      return { status: 200, body: { Parameter: shown(found, body.WithDecryption === true) } };
    },
    DescribeParameters(body) {
      const [{ Key, Values = [] } = {}] = (body.ParameterFilters ?? []) as { Key?: string; Values?: string[] }[];
      const isMeant = ({ name }: StoredParameter) =>
        Values.some((value) => (Key === 'Path' ? name.startsWith(`${value}/`) : name === value));
      const Parameters = [...parameters.values()].filter(isMeant).map(({ name, type, keyId }) => ({
        ...{ Name: name, Type: type },
        ...(type === 'SecureString' && { KeyId: keyId ?? 'alias/aws/ssm' }),
      }));
      return { status: 200, body: { Parameters } };
    },
    PutParameter(body) {
      const name = String(body.Name);
      const before = parameters.get(name);
      if (before !== undefined && body.Overwrite !== true)
        return fail('ParameterAlreadyExists', 'The parameter already exists.');
      if (before !== undefined && body.Type !== undefined && body.Type !== before.type) {
        return fail(
          'HierarchyTypeMismatchException',
          'Parameter Store does not support changing a parameter type in a hierarchy.',
        );
      }
      if (String(body.Value ?? '') === '')
        return fail('ValidationException', 'Member must have length greater than or equal to 1');
      const type = (body.Type as StoredParameter['type'] | undefined) ?? before?.type ?? 'String';
      put(name, String(body.Value), { type });
      const stored = parameters.get(name)!;
      if (body.KeyId !== undefined) parameters.set(name, { ...stored, keyId: String(body.KeyId) });
      return { status: 200, body: { Version: stored.version, Tier: 'Standard' } };
    },
    DeleteParameter(body) {
      return parameters.delete(String(body.Name)) ? { status: 200, body: {} } : fail('ParameterNotFound', '');
    },
    DeleteParameters(body) {
      const names = body.Names as string[];
      if (names.length > 10) return fail('ValidationException', 'Member must have length less than or equal to 10');
      const DeletedParameters = names.filter((name) => parameters.delete(name));
      const InvalidParameters = names.filter((name) => !DeletedParameters.includes(name));
      return { status: 200, body: { DeletedParameters, InvalidParameters } };
    },
  };

  function isAdmitted(): boolean {
    if (tokens) {
      const at = performance.now();
      const { perSecond } = tokens;
      tokens.left = Math.min(perSecond, tokens.left + ((at - tokens.at) * perSecond) / 1_000);
      tokens.at = at;
      if (tokens.left < 1) return false;
      tokens.left -= 1;
    }
    admitted += 1;
    return true;
  }

  function answer(operation: string, body: Body, call: SsmCall): Answer {
    const fault = faultOf(call);
    if (fault === 'throttled' || !isAdmitted()) return fail('ThrottlingException', 'Rate exceeded');
    if (fault === 'expired') return fail('InvalidNextToken', 'The specified token is not valid.');
    if (throttles > 0) {
      throttles -= 1;
      return fail('ThrottlingException', 'Rate exceeded');
    }
    if (broken((body.Names as string[] | undefined) ?? [String(body.Name)]))
      return fail('InternalServerError', 'An error occurred on the server side.', 500);
    if (denied?.(operation)) {
      return fail(
        'AccessDeniedException',
        `User: arn:aws:sts::${account}:assumed-role/relay is not authorized to perform: ssm:${operation}`,
      );
    }
    return operations[operation]?.(body) ?? fail('UnknownOperationException', operation);
  }

  function handle(incoming: IncomingMessage, outgoing: ServerResponse, text: string) {
    if (isDown) return void outgoing.destroy();
    const operation = String(incoming.headers['x-amz-target'] ?? '').replace(/^AmazonSSM\./, '');
    const body = JSON.parse(text || '{}') as Body;
    const names = (body.Names as string[] | undefined) ?? [String(body.Name ?? body.Path ?? '')];
    const call = { operation, names, decrypted: body.WithDecryption === true, continued: body.NextToken !== undefined };
    calls.push(call);
    listener?.(call);
    if (hanging?.(operation)) return;
    const { status, body: reply } = answer(operation, body, call);
    setTimeout(() => {
      outgoing.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' });
      outgoing.end(JSON.stringify(reply));
    }, delayMs);
  }

  const server = keptConnections(
    createServer((incoming, outgoing) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () => handle(incoming, outgoing, Buffer.concat(chunks).toString()));
      incoming.on('error', () => {});
    }),
  );
  server.on('connection', (socket) => {
    if (isDown) socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    parameters,
    put,
    delete: (name) => void parameters.delete(name),
    throttle(times) {
      throttles = times;
    },
    limit(perSecond) {
      tokens = { perSecond, left: perSecond, at: performance.now() };
    },
    admitted: () => admitted,
    faultWhen(fault) {
      faultOf = fault;
    },
    deny(operation) {
      denied = (one) => operation === undefined || one === operation;
    },
    forbid(...names) {
      for (const name of names) forbidden.add(name);
    },
    break(...names) {
      broken = (asked) => names.length === 0 || names.some((name) => asked.includes(name));
    },
    hang(operation) {
      hanging = (one) => operation === undefined || one === operation;
    },
    slow(ms) {
      delayMs = ms;
    },
    down() {
      isDown = true;
      server.closeAllConnections();
    },
    before(run) {
      listener = run;
    },
    heal() {
      if (hanging) server.closeAllConnections();
      forbidden.clear();
      throttles = 0;
      tokens = undefined;
      faultOf = () => undefined;
      denied = undefined;
      broken = () => false;
      hanging = undefined;
      isDown = false;
      delayMs = 0;
    },
    close() {
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

function undecryptable(): Answer {
  return fail(
    'AccessDeniedException',
    'The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.',
  );
}
