/** What RFC 9110 and RFC 9112 say about requests that are not quite right; each on a polling and on a streaming endpoint. */
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { say } from './ask.ts';
import { startServer } from './start-server.ts';

const { opened } = closeAfterEach();
const start = async () => opened(await startServer({ view: createMemory(flag('banner', 1)) }));

const alice = '{"kind":"user","key":"alice"}';
const chunked = `${alice.length.toString(16)}\r\n${alice}\r\n0\r\n\r\n`;
const paths = ['/sdk/evalx/64a0/context', '/eval/64a0'];
const json = 'Content-Type: application/json\r\n';
const length = `Content-Length: ${alice.length}\r\n`;

/** `{path}` stands for an endpoint that takes a context from the body; a POST is framed by its own headers. */
interface Case {
  readonly title: string;
  readonly status: number;
  readonly line?: string;
  readonly fields: string;
  readonly body?: string;
}
const POST = 'POST {path} HTTP/1.1';

const cases: readonly Case[] = [
  // RFC 9112 section 3.2
  { title: 'two Host fields', status: 400, fields: `Host: a\r\nHost: b\r\n${length}` },
  { title: 'two equal Host fields', status: 400, fields: `Host: a\r\nHost: a\r\n${length}` },
  { title: 'no Host field', status: 400, fields: length },
  { title: 'a Host with a space', status: 400, fields: `Host: a b\r\n${length}` },
  { title: 'a Host with a path', status: 400, fields: `Host: a/b\r\n${length}` },
  { title: 'a Host with a user', status: 400, fields: `Host: u@a\r\n${length}` },
  { title: 'a Host with a word as port', status: 400, fields: `Host: a:http\r\n${length}` },
  { title: 'a Host of 2,000 characters', status: 400, fields: `Host: ${'a'.repeat(2_000)}\r\n${length}` },
  { title: 'a list of hosts', status: 400, fields: `Host: a, b\r\n${length}` },
  { title: 'an empty Host field', status: 200, fields: `Host:\r\n${length}` },
  { title: 'an IPv6 Host with a port', status: 200, fields: `Host: [::1]:80\r\n${length}` },
  { title: 'a Host with an empty port', status: 200, fields: `Host: a-b_c.example:\r\n${length}` },
  { title: 'HTTP/1.0 without Host', status: 200, line: 'POST {path} HTTP/1.0', fields: length },
  // RFC 9112 section 3
  { title: 'no version', status: 400, line: 'POST {path}', fields: `Host: a\r\n${length}` },
  { title: 'HTTP/0.9', status: 400, line: 'POST {path} HTTP/0.9', fields: `Host: a\r\n${length}` },
  { title: 'HTTP/1.2', status: 400, line: 'POST {path} HTTP/1.2', fields: `Host: a\r\n${length}` },
  { title: 'HTTP/2.0', status: 400, line: 'POST {path} HTTP/2.0', fields: `Host: a\r\n${length}` },
  { title: 'http/1.1', status: 400, line: 'POST {path} http/1.1', fields: `Host: a\r\n${length}` },
  { title: 'a space in the target', status: 400, line: 'POST {path} x HTTP/1.1', fields: `Host: a\r\n${length}` },
  { title: 'a tab for a space', status: 400, line: 'POST\t{path} HTTP/1.1', fields: `Host: a\r\n${length}` },
  { title: 'NUL in the target', status: 400, line: 'POST {path}\0 HTTP/1.1', fields: `Host: a\r\n${length}` },
  {
    title: 'a bare CR in the request line',
    status: 400,
    line: 'POST {path}\r HTTP/1.1',
    fields: `Host: a\r\n${length}`,
  },
  { title: 'an empty line before it', status: 200, line: '\r\nPOST {path} HTTP/1.1', fields: `Host: a\r\n${length}` },
  { title: 'a fragment', status: 400, line: 'POST {path}#a HTTP/1.1', fields: `Host: a\r\n${length}` },
  // RFC 9112 section 3.2.2 and RFC 9110 section 4.2
  { title: 'absolute form', status: 200, line: 'POST http://b{path} HTTP/1.1', fields: `Host: a\r\n${length}` },
  {
    title: 'absolute form with a port',
    status: 200,
    line: 'POST https://b:1{path} HTTP/1.1',
    fields: `Host: a\r\n${length}`,
  },
  { title: 'absolute form without Host', status: 400, line: 'POST http://b{path} HTTP/1.1', fields: length },
  { title: 'absolute form, no host', status: 400, line: 'POST http://{path} HTTP/1.1', fields: `Host: a\r\n${length}` },
  {
    title: 'absolute form, only a port',
    status: 400,
    line: 'POST http://:80{path} HTTP/1.1',
    fields: `Host: a\r\n${length}`,
  },
  {
    title: 'absolute form with a user',
    status: 400,
    line: 'POST http://u@b{path} HTTP/1.1',
    fields: `Host: a\r\n${length}`,
  },
  { title: 'another scheme', status: 400, line: 'POST ftp://b{path} HTTP/1.1', fields: `Host: a\r\n${length}` },
  { title: 'authority form', status: 400, line: 'POST a:80 HTTP/1.1', fields: `Host: a\r\n${length}` },
  { title: 'asterisk form', status: 400, line: 'POST * HTTP/1.1', fields: `Host: a\r\n${length}` },
  // RFC 9112 section 6
  { title: 'two lengths', status: 400, fields: `Host: a\r\n${length}${length}` },
  { title: 'two different lengths', status: 400, fields: `Host: a\r\n${length}Content-Length: 1\r\n` },
  {
    title: 'a list of lengths',
    status: 400,
    fields: `Host: a\r\nContent-Length: ${alice.length}, ${alice.length}\r\n`,
  },
  { title: 'a negative length', status: 400, fields: 'Host: a\r\nContent-Length: -1\r\n' },
  { title: 'a signed length', status: 400, fields: `Host: a\r\nContent-Length: +${alice.length}\r\n` },
  { title: 'a fractional length', status: 400, fields: `Host: a\r\nContent-Length: ${alice.length}.0\r\n` },
  { title: 'a hexadecimal length', status: 400, fields: 'Host: a\r\nContent-Length: 0x1d\r\n' },
  { title: 'an empty length', status: 400, fields: 'Host: a\r\nContent-Length:\r\n' },
  { title: 'a length of 20 digits', status: 400, fields: `Host: a\r\nContent-Length: ${'9'.repeat(20)}\r\n` },
  { title: 'a length with zeros in front', status: 200, fields: `Host: a\r\nContent-Length: 000${alice.length}\r\n` },
  {
    title: 'chunks after a length',
    status: 400,
    fields: `Host: a\r\n${length}Transfer-Encoding: chunked\r\n`,
    body: chunked,
  },
  {
    title: 'a length after chunks',
    status: 400,
    fields: `Host: a\r\nTransfer-Encoding: chunked\r\n${length}`,
    body: chunked,
  },
  { title: 'chunks', status: 200, fields: 'Host: a\r\nTransfer-Encoding: chunked\r\n', body: chunked },
  { title: 'CHUNKED', status: 200, fields: 'Host: a\r\nTransfer-Encoding: CHUNKED\r\n', body: chunked },
  {
    title: 'chunked, identity',
    status: 400,
    fields: 'Host: a\r\nTransfer-Encoding: chunked, identity\r\n',
    body: chunked,
  },
  {
    title: 'chunked, chunked',
    status: 400,
    fields: 'Host: a\r\nTransfer-Encoding: chunked, chunked\r\n',
    body: chunked,
  },
  {
    title: 'chunked twice',
    status: 400,
    fields: `Host: a\r\n${'Transfer-Encoding: chunked\r\n'.repeat(2)}`,
    body: chunked,
  },
  {
    title: 'identity, chunked',
    status: 501,
    fields: 'Host: a\r\nTransfer-Encoding: identity, chunked\r\n',
    body: chunked,
  },
  { title: 'gzip, chunked', status: 501, fields: 'Host: a\r\nTransfer-Encoding: gzip, chunked\r\n', body: chunked },
  { title: 'gzip', status: 400, fields: 'Host: a\r\nTransfer-Encoding: gzip\r\n', body: chunked },
  { title: 'xchunked', status: 400, fields: 'Host: a\r\nTransfer-Encoding: xchunked\r\n', body: chunked },
  { title: 'no coding', status: 400, fields: 'Host: a\r\nTransfer-Encoding:\r\n', body: chunked },
  {
    title: 'chunks in HTTP/1.0',
    status: 400,
    line: 'POST {path} HTTP/1.0',
    fields: 'Host: a\r\nTransfer-Encoding: chunked\r\n',
    body: chunked,
  },
  // RFC 9112 section 5 and RFC 9110 section 5.5
  { title: 'a folded field', status: 400, fields: `Host: a\r\nX: a\r\n b\r\n${length}` },
  { title: 'a field before the first', status: 400, fields: ` X: a\r\nHost: a\r\n${length}` },
  { title: 'a space before a colon', status: 400, fields: `Host: a\r\nX : a\r\n${length}` },
  { title: 'a name with a bracket', status: 400, fields: `Host: a\r\nX(y): a\r\n${length}` },
  { title: 'a name that is not ASCII', status: 400, fields: `Host: a\r\nü: a\r\n${length}` },
  { title: 'no name', status: 400, fields: `Host: a\r\n: a\r\n${length}` },
  { title: 'no colon', status: 400, fields: `Host: a\r\nX\r\n${length}` },
  { title: 'a bare LF after a field', status: 400, fields: `Host: a\r\nX: a\n${length}` },
  { title: 'a bare CR in a value', status: 400, fields: `Host: a\r\nX: a\rY: b\r\n${length}` },
  { title: 'NUL in a value', status: 400, fields: `Host: a\r\nX: a\0b\r\n${length}` },
  { title: 'a control character in a value', status: 400, fields: `Host: a\r\nX: a\u0001b\r\n${length}` },
  { title: 'a tab in a value', status: 200, fields: `Host: a\r\nX: a\tb\r\n${length}` },
  // One value each: readers along the way must not see different ones.
  { title: 'two types', status: 400, fields: `Host: a\r\nContent-Type: text/plain\r\n${length}` },
  { title: 'equal types', status: 200, fields: `Host: a\r\n${json}${length}` },
  { title: 'two credentials', status: 400, fields: `Host: a\r\nAuthorization: a\r\nauthorization: b\r\n${length}` },
  { title: 'equal credentials', status: 200, fields: `Host: a\r\n${'Authorization: a\r\n'.repeat(2)}${length}` },
  { title: 'two API keys', status: 400, fields: `Host: a\r\nX-API-Key: a\r\nX-API-Key: b\r\n${length}` },
  // RFC 9110 section 10.1.1
  { title: 'an unknown expectation', status: 417, fields: `Host: a\r\nExpect: 200-ok\r\n${length}` },
  { title: 'an expectation too many', status: 417, fields: `Host: a\r\nExpect: 100-continue, x\r\n${length}` },
  {
    title: 'an expectation in HTTP/1.0',
    status: 200,
    line: 'POST {path} HTTP/1.0',
    fields: `Host: a\r\nExpect: 100-continue\r\n${length}`,
  },
  // RFC 6585 section 5
  { title: '257 fields', status: 431, fields: `Host: a\r\n${'x:\r\n'.repeat(254)}${length}` },
  { title: '12,000 fields', status: 431, fields: `Host: a\r\n${'x:\r\n'.repeat(12_000)}${length}` },
];

test.each(cases.map((one) => [one.title, one.status, one] as const))('%s: %i', async (_title, status, one) => {
  const { port } = await start();
  for (const path of paths) {
    const line = (one.line ?? POST).replace('{path}', path);
    const text = await say(port, `${line}\r\n${json}${one.fields}\r\n${one.body ?? alice}`, (heard) =>
      /^HTTP\/1.1 200 .*\r\n\r\n/s.test(heard),
    );
    expect([path, text.slice(9, 12)]).toEqual([path, String(status)]);
    if (status === 200) continue;
    expect(JSON.parse(text.split('\r\n\r\n')[1]!).message).toMatch(/\w+ \w+/);
    expect(text).toMatch(/^connection: close\r$/im);
  }
});

test('256 header fields all count, in whatever order they come', async () => {
  const { port } = await start();
  for (const path of ['/sdk/latest-all', '/all']) {
    const fields = `Host: a\r\n${'x:\r\n'.repeat(254)}Authorization: sdk-key\r\n`;
    const text = await say(port, `GET ${path} HTTP/1.1\r\n${fields}\r\n`, (heard) => heard.includes('banner'));
    expect([path, text.slice(9, 12)]).toEqual([path, '200']);
  }
});

test('the preface of HTTP/2, and bytes that are no request, get 400 after the answers before them', async () => {
  const { port } = await start();
  expect(await say(port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')).toMatch(/^HTTP\/1.1 400 /);
});

test('a request target above 64 KiB gets 431', async () => {
  const { port } = await start();
  const target = `/eval/64a0/${'a'.repeat(70_000)}`;
  expect(await say(port, `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`)).toMatch(/^HTTP\/1.1 431 /);
});
