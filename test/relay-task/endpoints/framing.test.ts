/**
 * node:http reads the bodies of polling requests, the relay those of streams. Random framing, right and wrong, must get the
 * same verdict from both; `SEED=7 npx jest framing` repeats a run. 200 bodies, 4,000 with LONG=1.
 */
import { connect } from 'node:net';
import { PATIENCE_MS } from '../../support/eventually.ts';
import { RandomChoices, randomFrom } from '../../support/random.ts';
import { startServer } from './start-server.ts';

const COUNT = process.env.LONG ? 4_000 : 200;
const seed = process.env.SEED ?? String(Date.now());

/** Both endpoints accept it as a body: an event, and a context. */
interface Framed {
  readonly fields: string;
  readonly bytes: Buffer;
  /** How many bytes are sent at once. */
  readonly step: number;
}

class RandomFraming extends RandomChoices {
  next(): Framed {
    const text = JSON.stringify({ kind: 'user', key: this.text(), note: this.text().repeat(this.whole(0, 40)) });
    const body = Buffer.from(text);
    const step = this.chance(0.3) ? this.whole(1, 20) : 100_000;
    if (this.chance(0.2)) return this.byLength(body, step);
    let parts = this.chunks(body);
    const faults = this.chance(0.65) ? this.whole(1, 2) : 0;
    for (let i = 0; i < faults; i++) parts = this.mutated(parts);
    return { fields: 'Transfer-Encoding: chunked\r\n', bytes: Buffer.concat(parts.map((part) => part.bytes)), step };
  }

  private text(): string {
    return this.times(this.whole(1, 12), () => this.pick(['a', 'ü', '\\', '€', '0', ';', '\r\n', ' '])).join('');
  }

  private byLength(body: Buffer, step: number): Framed {
    const length = this.pick<string | number>([
      body.length,
      `000${body.length}`,
      body.length + 1,
      `${body.length}.0`,
      `+${body.length}`,
      -1,
      '',
      `0x${body.length.toString(16)}`,
      `${body.length}, ${body.length}`,
    ]);
    return { fields: `Content-Length: ${length}\r\n`, bytes: body, step };
  }

  private chunks(body: Buffer): Part[] {
    const parts: Part[] = [];
    for (let at = 0; at < body.length; ) {
      const size = this.whole(1, Math.min(60, body.length - at));
      parts.push(framing(`${this.size(size)}${this.extensions()}\r\n`));
      parts.push({ kind: 'data', bytes: body.subarray(at, at + size) });
      parts.push(framing('\r\n'));
      at += size;
    }
    // Only here, since the relay also limits the extensions of a whole body.
    const long = this.chance(0.05) ? `;${'x'.repeat(3_000)}` : '';
    parts.push(framing(`${this.size(0)}${this.extensions()}${long}\r\n`));
    const trailers = this.times(this.whole(0, 2), () =>
      this.pick([
        'X: y',
        'x-y:',
        'Expires: a, "b"',
        'X: \tü',
        'Host: b',
        'Connection: close',
        'Trailer: content-length',
      ]),
    );
    for (const trailer of trailers) parts.push(framing(`${trailer}\r\n`));
    parts.push(framing('\r\n'));
    return parts;
  }

  private size(size: number): string {
    const digits = size.toString(16);
    return `${this.chance(0.1) ? '0'.repeat(this.whole(1, 30)) : ''}${this.chance(0.5) ? digits.toUpperCase() : digits}`;
  }

  private extensions(): string {
    if (this.chance(0.7)) return '';
    return this.pick([';a', ';a=b', ';a;b', ';a="b"', ';a="b c;\\"d\\"";e', ';a=""']);
  }

  /** One fault in the framing. */
  private mutated(parts: readonly Part[]): Part[] {
    const lines = parts.flatMap(({ kind }, index) => (kind === 'framing' ? [index] : []));
    const at = this.pick(lines);
    const line = parts[at]!.bytes.toString('latin1');
    const bad = this.pick<(line: string) => string>([
      (text) => text.replace('\r\n', '\n'),
      (text) => text.replace('\r\n', '\r'),
      (text) => text.replace('\r\n', ''),
      (text) => text.replace('\r\n', '\r\r\n'),
      (text) => text.replace('\r\n', '\n\r\n'),
      (text) => text.replace('\r\n', '\r\n\r\n'),
      (text) => text.replace('\r\n', ' \r\n'),
      (text) => text.replace('\r\n', '\t\r\n'),
      (text) => text.replace('\r\n', ';\r\n'),
      (text) => text.replace('\r\n', '; \r\n'),
      (text) => text.replace('\r\n', ';a b\r\n'),
      (text) => text.replace('\r\n', ';a="b\r\n'),
      (text) => text.replace('\r\n', ';a="b"c\r\n'),
      (text) => text.replace('\r\n', ';a="\u0001"\r\n'),
      (text) => text.replace('\r\n', ';a\0\r\n'),
      (text) => text.replace('\r\n', ';(\r\n'),
      (text) => `+${text}`,
      (text) => `-${text}`,
      (text) => `0x${text}`,
      (text) => ` ${text}`,
      (text) => `\t${text}`,
      (text) => `${text.replace(/^[\da-f]+/i, '')}`,
      (text) => `g${text}`,
      (text) => `1${text}`,
      (text) => `f${'f'.repeat(this.whole(1, 20))}${text}`,
      (text) => `X y\r\n${text}`,
      (text) => `X : y\r\n${text}`,
      (text) => `: y\r\n${text}`,
      (text) => `X: a\rb\r\n${text}`,
      (text) => `X: a\0b\r\n${text}`,
      (text) => `X: a\r\n b\r\n${text}`,
      (text) => `Content-Length: 5\r\n${text}`,
      (text) => `Transfer-Encoding: chunked\r\n${text}`,
      () => '',
      () => this.times(this.whole(1, 4), () => this.pick(['\r', '\n', '0', ';', 'a', ' ', ':', '"'])).join(''),
    ])(line);
    const mutated = [...parts];
    mutated[at] = framing(bad);
    return this.chance(0.1) ? mutated.slice(0, this.whole(1, mutated.length)) : mutated;
  }
}

interface Part {
  readonly kind: 'framing' | 'data';
  readonly bytes: Buffer;
}
const framing = (text: string): Part => ({ kind: 'framing', bytes: Buffer.from(text, 'latin1') });

/** The status of the answer. The client ends its side once everything is sent. */
function send(port: number, path: string, { fields, bytes, step }: Framed): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    let heard = '';
    socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error(`not answered; so far: ${heard}`)));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
    socket.on('data', (data) => {
      heard += data;
      if (/^HTTP\/1.1 \d\d\d /.test(heard)) socket.destroy();
    });
    socket.on('end', () => socket.destroy());
    socket.on('close', () => resolve(heard.slice(9, 12)));
    const head = `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n${fields}\r\n`;
    const all = Buffer.concat([Buffer.from(head), bytes]);
    let at = 0;
    const rest = () => {
      if (socket.destroyed) return;
      if (at >= all.length) {
        socket.end();
        return;
      }
      const size = at === 0 && step < 100 ? head.length : step;
      socket.write(all.subarray(at, at + size), () => setImmediate(rest));
      at += size;
    };
    rest();
  });
}

test(`${COUNT} framed bodies get the same verdict on polling and streaming endpoints (SEED=${seed})`, async () => {
  const random = new RandomFraming(randomFrom(seed));
  const server = await startServer();
  const verdicts = { accepted: 0, refused: 0 };
  try {
    for (let i = 0; i < COUNT; i++) {
      const framed = random.next();
      const told = { seed, i, fields: framed.fields, bytes: framed.bytes.toString('latin1'), step: framed.step };
      const [polls, streams] = [server.environment.delivered.length, server.opened.length];
      const status = {
        polling: await send(server.port, '/events/bulk/64a0', framed),
        streaming: await send(server.port, '/eval/64a0', framed),
      };
      const accepted = status.polling === '202';
      verdicts[accepted ? 'accepted' : 'refused']++;
      // A client that is gone before its body is complete may not see the answer.
      const expected = accepted
        ? { polling: '202', streaming: '200' }
        : { polling: expect.stringMatching(/^(?:4\d\d)?$/), streaming: expect.stringMatching(/^(?:4\d\d)?$/) };
      expect({ ...told, status }).toEqual({ ...told, status: expected });
      expect(server.environment.delivered.length - polls).toBe(accepted ? 1 : 0);
      expect(server.opened.length - streams).toBe(accepted ? 1 : 0);
      if (!accepted) continue;
      const { key, note } = JSON.parse(String(server.environment.delivered.at(-1)?.body));
      const { opening } = server.opened.at(-1)!;
      expect(opening.kind === 'eval' && JSON.parse(JSON.stringify(opening.context.read())).members[0]).toMatchObject({
        key,
        note,
      });
      server.opened.at(-1)!.socket.destroy();
    }
    // Neither all right nor all wrong.
    expect(verdicts.accepted / COUNT).toBeGreaterThan(0.2);
    expect(verdicts.refused / COUNT).toBeGreaterThan(0.2);
  } finally {
    await server.close();
  }
}, 600_000);
