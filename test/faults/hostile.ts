/**
 * Hostile requests, by a seed: every route of the relay with bodies, encodings, paths, headers and manners that no client has.
 * What an attack does with its socket is carried out by `hostile-child.ts`.
 */
import { brotliCompressSync, constants, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { createRoutes } from '../../relay-task/endpoints/routes.ts';
import { RandomChoices, randomFrom } from '../support/random.ts';
import { environmentId, mobileKey, sdkKey } from './site.ts';

/** `hold`: reads, and keeps the connection open for `holdMs`; the other manners stop reading, or end it in their own way. */
type Manner = 'hold' | 'never read' | 'reset' | 'half close';

export interface Attack {
  /** For counts and messages. */
  readonly name: string;
  /** Written one after the other, `pauseMs` apart. */
  readonly parts: readonly Buffer[];
  readonly pauseMs: number;
  readonly manner: Manner;
  /** How long the connection is kept after the last part, unless the relay closes it or has answered every request. */
  readonly holdMs: number;
  /** Whether it is kept so long even if every request has had its answer. */
  readonly patient: boolean;
  /** How many requests it counts as. */
  readonly requests: number;
}

export interface HostileOptions {
  /** The largest body after decompression; 66 MB in the long form. */
  readonly largestBytes: number;
  /** The longest hold. */
  readonly longestHoldMs: number;
}

const MB = 1_000_000;
const routes = createRoutes({
  maxContextBytes: 1_048_576,
  maxInboundPayloadBytes: 0,
  health: {
    status: () => [],
    *environmentStatus() {},
    readiness: () => ({ ready: true, waitingFor: [] }),
  },
});

/** A body that is sent often and is expensive to make. */
interface Bomb {
  readonly name: string;
  readonly encoding: string;
  readonly body: Buffer;
}

function createBombs(largestBytes: number): readonly Bomb[] {
  const objects = (bytes: number) => Buffer.from(`{"kind":"user","key":"k","a":[${'{},'.repeat(bytes / 3)}{}]}`);
  const events = (bytes: number) => Buffer.from(`[${'{},'.repeat(bytes / 3)}{}]`);
  const string = (bytes: number) => Buffer.from(`{"kind":"user","key":"k","a":"${'x'.repeat(bytes)}"}`);
  const small = Math.min(largestBytes, 5 * MB);
  return [
    { name: 'objects', encoding: 'gzip', body: gzipSync(objects(small)) },
    { name: 'a string', encoding: 'gzip', body: gzipSync(string(small)) },
    { name: 'events', encoding: 'gzip', body: gzipSync(events(largestBytes)) },
    { name: 'a long string', encoding: 'gzip', body: gzipSync(string(largestBytes)) },
    {
      name: 'events',
      encoding: 'br',
      body: brotliCompressSync(events(largestBytes), { params: { [constants.BROTLI_PARAM_QUALITY]: 3 } }),
    },
    { name: 'gzip in gzip', encoding: 'gzip, gzip', body: gzipSync(gzipSync(events(largestBytes))) },
  ];
}

export class HostileRequests extends RandomChoices {
  private readonly bombs: readonly Bomb[];
  private readonly longestHoldMs: number;

  constructor(seed: string, options: HostileOptions) {
    super(randomFrom(seed));
    this.bombs = createBombs(options.largestBytes);
    this.longestHoldMs = options.longestHoldMs;
  }

  next(): Attack {
    const share = this.random();
    if (share < 0.02) return this.garbage();
    if (share < 0.03) return this.silent();
    if (share < 0.09) return this.pipeline();
    if (share < 0.095) return this.bomb();
    const { name, bytes } = this.request();
    if (share < 0.12) return this.attack(`slow ${name}`, this.slices(bytes), { pauseMs: this.whole(5, 100) });
    if (share < 0.16)
      return this.attack(`never reads: ${name}`, [bytes], { manner: 'never read', holdMs: this.longHold() });
    if (share < 0.22)
      return this.attack(`resets: ${name}`, [bytes.subarray(0, this.whole(0, bytes.length))], {
        manner: 'reset',
        holdMs: this.whole(0, 20),
      });
    if (share < 0.26) return this.attack(`half closes: ${name}`, [bytes], { manner: 'half close' });
    return this.attack(name, [bytes]);
  }

  private attack(name: string, parts: readonly Buffer[], more: Partial<Attack> = {}): Attack {
    return {
      name,
      parts,
      pauseMs: 0,
      manner: 'hold',
      holdMs: this.chance(0.2) ? this.whole(20, 150) : 2_000,
      patient: false,
      requests: 1,
      ...more,
    };
  }

  private longHold(): number {
    return this.whole(0, this.longestHoldMs);
  }

  private bytes(count: number): Buffer {
    return Buffer.from(this.times(count, () => this.whole(0, 255)));
  }

  private garbage(): Attack {
    if (this.chance(0.3)) {
      const hello = Buffer.concat([Buffer.from('16030100c8010000c40303', 'hex'), this.bytes(200)]);
      return this.attack('TLS', [hello], { holdMs: this.longHold() });
    }
    if (this.chance(0.2))
      return this.attack('HTTP/2', [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), this.bytes(50)]);
    return this.attack('garbage', [this.bytes(this.whole(1, 2_000))], {
      manner: this.pick(['hold', 'half close', 'reset']),
    });
  }

  private silent(): Attack {
    const begun = this.pick(['', 'G', 'GET /', 'POST /bulk HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n']);
    return this.attack('silent', [Buffer.from(begun)], { holdMs: this.longHold() });
  }

  private pipeline(): Attack {
    const requests = this.times(this.whole(2, 20), () => this.request());
    const bytes = Buffer.concat(requests.map((each) => each.bytes));
    return this.attack('pipeline', this.chance(0.1) ? this.slices(bytes) : [bytes], {
      manner: this.pick(['hold', 'hold', 'hold', 'never read', 'reset']),
      requests: requests.length,
    });
  }

  private bomb(): Attack {
    const { name, encoding, body } = this.pick(this.bombs);
    const paths = [
      `/eval/${environmentId}`,
      `/events/bulk/${environmentId}`,
      `/sdk/evalx/${environmentId}/context`,
      '/ofrep/v1/evaluate/flags',
    ];
    const head = `POST ${this.pick(paths)} HTTP/1.1\r\nHost: a\r\nAuthorization: ${mobileKey}\r\nContent-Type: application/json\r\nContent-Encoding: ${encoding}\r\nContent-Length: ${body.length}\r\n\r\n`;
    return this.attack(`bomb: ${name} (${encoding})`, [Buffer.from(head), body], {
      holdMs: this.longHold(),
      patient: true,
    });
  }

  /** At most 20 of them, so that a slow writer is done some time. */
  private slices(bytes: Buffer): Buffer[] {
    const size = Math.ceil(bytes.length / this.whole(2, 20));
    return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
      bytes.subarray(index * size, (index + 1) * size),
    );
  }

  private request(): { name: string; bytes: Buffer } {
    const route = this.pick(routes);
    const method = this.chance(0.9)
      ? route.method
      : this.pick([
          'GET',
          'POST',
          'PUT',
          'DELETE',
          'OPTIONS',
          'HEAD',
          'REPORT',
          'TRACE',
          'CONNECT',
          'BREW',
          'X'.repeat(500),
          'G\u0000T',
        ]);
    const version = this.chance(0.97) ? 'HTTP/1.1' : this.pick(['HTTP/1.0', 'HTTP/0.9', 'HTTP/9.9', 'HTTP/1.1 ', '']);
    const { body, headers } =
      route.method === 'GET' && this.chance(0.9) ? { body: Buffer.alloc(0), headers: [] } : this.framedBody();
    const lines = [
      `${method} ${this.path(route.path)} ${version}`,
      ...this.shuffledHeaders(),
      ...this.credential(route.credential),
      ...headers,
    ];
    return {
      name: `${route.method} ${route.path}`,
      bytes: Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]),
    };
  }

  private path(template: string): string {
    const filled = template.replaceAll(/\{(\w+)\}/g, (_, name: string) => this.parameter(name));
    if (this.chance(0.9)) return filled;
    return this.pick([
      () => `${filled}?${'q=1&'.repeat(this.whole(1, 3_000))}`,
      () => `${filled}?basis=${'%00'.repeat(20)}&h=x&withReasons=true&filter=\u00ff`,
      () => `/${'a'.repeat(this.whole(1_000, 100_000))}`,
      () => `${filled}/${'../'.repeat(50)}etc/passwd`,
      () => `http://elsewhere.example${filled}`,
      () => `${filled}%ZZ%`,
      () => `//${filled}//`,
      () => '*',
    ])();
  }

  private parameter(name: string): string {
    if (name === 'envId')
      return this.chance(0.9) ? environmentId : this.pick(['unknown', '%00', sdkKey, 'x'.repeat(2_000)]);
    if (name !== 'context')
      return this.pick([
        'plain-1',
        'large',
        'main',
        'unknown',
        '__proto__',
        '%2e%2e',
        'constructor',
        'k'.repeat(1_100),
        '%F0%9F%98%80',
      ]);
    if (this.chance(0.05)) return this.pick(['', '%%%', 'A', '====', 'x'.repeat(10_000)]);
    const text = this.context(30_000);
    return text.toString(this.chance(0.8) ? 'base64url' : 'base64').slice(0, 60_000);
  }

  /** As the route wants it, or wrong. */
  private credential(asked: string | undefined): string[] {
    if (this.chance(0.1))
      return [
        `Authorization: ${this.pick(['', 'sdk-wrong', `Bearer ${sdkKey}`, 'Basic eHg6eHg=', environmentId, 'k'.repeat(7_000), '\u00e9'])}`,
      ];
    if (asked === 'sdkKey') return [`Authorization: ${sdkKey}`];
    if (asked === 'mobileKey' || asked === 'client') return [`Authorization: ${mobileKey}`];
    return asked === 'any' ? [`Authorization: ${this.pick([sdkKey, mobileKey, environmentId])}`] : [];
  }

  private shuffledHeaders(): string[] {
    const host = this.chance(0.97)
      ? ['Host: relay']
      : this.pick([[], ['Host: a', 'Host: b'], ['Host: '], ['Host : a']]);
    if (this.chance(0.85)) return host;
    return [
      ...host,
      ...this.pick([
        () => this.times(this.whole(100, 3_000), (index) => `X-${index}: ${index}`),
        () => [`X-Long: ${'v'.repeat(this.whole(1_000, 100_000))}`],
        () => ['X-Folded: a', ' b', '\tc'],
        () => ['Expect: 100-continue'],
        () => ['Expect: the unexpected'],
        () => ['Upgrade: websocket', 'Connection: Upgrade'],
        () => ['Connection: close, keep-alive, X-1'],
        () => ['Accept-Encoding: gzip;q=0, br;q=x, *;q=99, identity;q=-1'],
        () => [`If-None-Match: ${'"x",'.repeat(2_000)}`],
        () => ['Origin: null', 'Access-Control-Request-Headers: *', 'Access-Control-Request-Method: X'],
        () => [
          `X-LaunchDarkly-Tags: ${'a/b '.repeat(500)}`,
          'X-LaunchDarkly-Payload-ID: \u0001',
          'X-LaunchDarkly-Event-Schema: 9e9',
        ],
        () => ['no colon', ': no name', 'n@me: x', 'X-Nul: \u0000'],
        () => ['Last-Event-ID: x', 'Range: bytes=0-,0-,0-,0-'],
      ])(),
    ];
  }

  private framedBody(): { body: Buffer; headers: string[] } {
    const plain = this.chance(0.5) ? this.context(60_000) : this.events();
    const { encoding, coded } = this.encoded(plain);
    const type = this.chance(0.9)
      ? ['Content-Type: application/json']
      : this.pick([
          [],
          ['Content-Type: text/xml'],
          ['Content-Type: application/json; charset=utf-16'],
          ['Content-Type: a', 'Content-Type: b'],
        ]);
    const { body, framing } = this.framed(coded);
    return { body, headers: [...type, ...(encoding === '' ? [] : [`Content-Encoding: ${encoding}`]), ...framing] };
  }

  private encoded(plain: Buffer): { encoding: string; coded: Buffer } {
    if (this.chance(0.5)) return { encoding: '', coded: plain };
    return this.pick([
      () => ({ encoding: 'gzip', coded: gzipSync(plain) }),
      () => ({ encoding: 'gzip', coded: gzipSync(plain).subarray(0, this.whole(0, 40)) }),
      () => ({ encoding: 'gzip', coded: Buffer.concat([gzipSync(plain), gzipSync(plain), this.bytes(20)]) }),
      () => ({ encoding: 'gzip', coded: plain }),
      () => ({ encoding: 'gzip', coded: Buffer.concat([gzipSync('').subarray(0, 10), this.bytes(100)]) }),
      () => ({ encoding: 'gzip, gzip', coded: gzipSync(gzipSync(plain)) }),
      () => ({ encoding: 'deflate', coded: deflateSync(plain) }),
      () => ({ encoding: 'deflate', coded: deflateRawSync(plain) }),
      () => ({ encoding: 'br', coded: brotliCompressSync(plain, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }) }),
      () => ({ encoding: this.pick(['zstd', 'identity', 'x-gzip', 'GZIP', 'gzip;q=1', '\u00ff']), coded: plain }),
    ])();
  }

  private framed(bytes: Buffer): { body: Buffer; framing: string[] } {
    const length = (count: number | string) => [`Content-Length: ${count}`];
    if (this.chance(0.75)) return { body: bytes, framing: length(bytes.length) };
    const chunk = (size: string, part: Buffer, end = '\r\n') =>
      Buffer.concat([Buffer.from(`${size}${end}`), part, Buffer.from(end)]);
    const hex = bytes.length.toString(16);
    const last = Buffer.from('0\r\n\r\n');
    const chunked = ['Transfer-Encoding: chunked'];
    return this.pick([
      () => ({ body: Buffer.concat([...(bytes.length > 0 ? [chunk(hex, bytes)] : []), last]), framing: chunked }),
      () => ({
        body: Buffer.concat([
          ...this.slices(bytes.length > 0 ? bytes : Buffer.from('x')).map((part) =>
            chunk(part.length.toString(16), part),
          ),
          last,
        ]),
        framing: chunked,
      }),
      () => ({ body: Buffer.concat([chunk(hex, bytes, '\n'), last]), framing: chunked }),
      () => ({ body: Buffer.concat([chunk(`${hex};${'e'.repeat(20_000)}`, bytes), last]), framing: chunked }),
      () => ({ body: chunk(this.pick(['-1', 'zz', 'ffffffffffffffff', '']), bytes), framing: chunked }),
      () => ({ body: Buffer.concat([chunk(hex, bytes), last]), framing: [...chunked, ...length(bytes.length)] }),
      () => ({ body: bytes, framing: length(this.pick(['-1', '1e3', '0x10', '9'.repeat(30), '10, 10', '+5'])) }),
      () => ({ body: bytes, framing: [...length(bytes.length), ...length(bytes.length + 1)] }),
      () => ({ body: bytes, framing: length(bytes.length + this.whole(1, 1_000_000)) }),
      () => ({ body: bytes, framing: length(Math.floor(bytes.length / 2)) }),
      () => ({ body: bytes, framing: ['Transfer-Encoding: gzip, chunked'] }),
    ])();
  }

  private context(mostBytes: number): Buffer {
    const size = this.pick([10, 100, 1_000, mostBytes]);
    const user = (more: object) =>
      Buffer.from(JSON.stringify({ kind: 'user', key: `hostile-${this.whole(0, 5_000)}`, ...more }));
    const nested = (depth: number, open: string, inner: string, close: string) =>
      Buffer.from(`{"kind":"user","key":"k","a":${open.repeat(depth)}${inner}${close.repeat(depth)}}`);
    return this.pick([
      () => user({}),
      () => user({ email: 'somebody@example.com', version: '2.1.0' }),
      () => user({ email: 'a'.repeat(size) }),
      () => user({ email: `${'a'.repeat(31)}!`, version: '9'.repeat(size) }),
      () => user({ email: Array.from({ length: size / 10 }, () => 'aaaaaaaa!') }),
      () => nested(size / 2, '[', '', ']'),
      () => nested(size / 6, '{"a":', '1', '}'),
      () => Buffer.from(`{"kind":"user","key":"k","a":[${'{},'.repeat(size / 3)}{}]}`),
      () =>
        Buffer.from(
          `{"kind":"multi",${Array.from({ length: size / 30 }, (_, index) => `"kind-${index}":{"key":"k"}`).join()}}`,
        ),
      () =>
        Buffer.from(
          `{"kind":"user","key":"k",${Array.from({ length: size / 10 }, (_, index) => `"a${index}":1`).join()}}`,
        ),
      () => Buffer.from('{"kind":"user","key":"k","__proto__":{"a":1},"constructor":{"prototype":1}}'),
      () => Buffer.from('{"kind":"user","key":"k","a":1e999,"b":-0,"c":0.1e-400,"d":123456789012345678901234567890}'),
      () => user({ key: 'k'.repeat(size) }),
      () => user({ _meta: { privateAttributes: Array.from({ length: size / 5 }, () => '/a/b/~1') } }),
      () => user({ kind: this.pick(['', 'kind', 'multi', 'a b', '\u0000', 'k'.repeat(size)]) }),
      () => user({}).subarray(0, this.whole(0, 30)),
      () => Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), user({})]),
      () => Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]),
      () =>
        Buffer.from(
          this.pick(['', 'null', '[]', '""', '0', 'true', '{}', '{"context":{"targetingKey":"k"}}', '{"context":[]}']),
        ),
      () => this.bytes(50),
    ])();
  }

  private events(): Buffer {
    const count = this.pick([0, 1, 10, 500]);
    const event = () =>
      this.pick([
        { kind: 'custom', key: 'k', creationDate: 1, context: { kind: 'user', key: 'k' } },
        {
          kind: 'feature',
          key: 'plain-1',
          version: 1,
          value: true,
          creationDate: Date.UTC(2026, 0),
          user: { key: 'u' },
        },
        { kind: 'summary', startDate: 1, endDate: 2, features: { 'plain-1': { counters: [{ count: 9e99 }] } } },
        { kind: 'index', context: { kind: 'multi' } },
        { kind: 'unknown', __proto__: 1 },
        { kind: 'debug', key: 'x'.repeat(5_000) },
        {},
        null,
        [],
        'text',
      ]);
    return Buffer.from(JSON.stringify(this.times(count, event)));
  }
}
