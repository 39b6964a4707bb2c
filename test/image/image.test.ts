/**
 * The relay's image: built from the Dockerfile step by step and started, read-only, without privileges, by an OCI runtime. Base
 * images are stand-ins (`bases.ts`), so what the real ones contain is not tested here.
 */
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { generate } from 'selfsigned';
import { prebuiltDockerfile } from '../../bin/relay-bundle/dockerfile.ts';
import { eventually } from '../support/eventually.ts';
import { exampleEnvironment, exampleFile } from '../support/example-environment.ts';
import { freePort } from '../support/free-port.ts';
import { closeAfterEach } from '../support/opened.ts';
import { listeningPort, root } from '../support/relay-process.ts';
import { distroless, nodeSlim, npmCache } from './bases.ts';
import { type Container, createEngine, type Engine, missing } from './engine.ts';

const { behind, opened } = closeAfterEach();

/** The relay's certificate is not for this address. */
function ask(url: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(url, { headers, agent: false, rejectUnauthorized: false }, resolve).on('error', reject);
  });
}

async function json(url: string, headers: Record<string, string> = {}): Promise<Record<string, unknown>> {
  let body = '';
  for await (const chunk of await ask(url, headers)) body += chunk;
  return JSON.parse(body);
}

/** Resolves with the first bytes; then says how it ends. */
async function openStream(url: string, sdkKey: string): Promise<{ readonly ended: Promise<'end' | 'cut'> }> {
  const response = await ask(url, { Authorization: sdkKey });
  const ended = new Promise<'end' | 'cut'>((resolve) => {
    response.once('end', () => resolve('end'));
    response.once('error', () => resolve('cut'));
  });
  await new Promise((resolve) => response.once('data', resolve));
  return { ended };
}

const read = (path: string) => readFileSync(join(root, path), 'utf8');
const dockerfile = read('relay-task/Dockerfile');
const last = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '));
const instructions = (text: string) =>
  text
    .replace(/\\\n/g, '')
    .split('\n')
    .filter((line) => /^[A-Z]/.test(line));

test('the last stage runs nothing, so that it is built for another platform without emulation', () => {
  expect(instructions(last).map((line) => line.split(' ', 1)[0])).not.toContain('RUN');
  expect(instructions(last).filter((line) => /^(COPY|ADD)/.test(line))).toEqual([
    expect.stringMatching(/^COPY --from=build --chmod=0755 (\/out\/[\w.-]+ )+\/usr\/local\/lib\/edge-flag-relay\/$/),
  ]);
});

test('the build context has what the Dockerfile copies, and nothing else', () => {
  const copied = instructions(dockerfile)
    .filter((line) => /^COPY (?!--from)/.test(line))
    .flatMap((line) => line.split(' ').slice(1, -1));
  const ignored = read('.dockerignore').split('\n');
  expect(
    ignored
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1))
      .sort(),
  ).toEqual(copied.sort());
  expect(ignored.filter((line) => /^[^!#]/.test(line))).toEqual(['*']);
  for (const path of copied) expect([path, existsSync(join(root, path))]).toEqual([path, true]);
});

test('the Dockerfile of the bundled files is the last stage, for the version that was bundled', () => {
  const prebuilt = instructions(prebuiltDockerfile(dockerfile, '1.2.3'));
  expect(prebuilt).toEqual([
    expect.stringMatching(/^ARG BASE=./),
    ...instructions(last)
      .map((line) => line.replace('--from=build ', '').replaceAll('/out/', ''))
      .map((line) => line.replace('VERSION=dev', 'VERSION=1.2.3')),
  ]);
});

test.each([
  ['RUN apt-get update', 'RUN apt-get update'],
  ['COPY --from=build /out/x /x\nCOPY --from=other /y /y', 'COPY --from=other /y /y'],
])('a last stage that needs more than the bundle is refused: %s', (line, message) => {
  expect(() => prebuiltDockerfile(`${dockerfile}${line}\n`, '1.2.3')).toThrow(message);
});

test('a Dockerfile without a last stage on the base image is refused', () => {
  expect(() => prebuiltDockerfile(dockerfile.replaceAll(/^FROM .*BASE.$/gm, 'FROM x'), '1.2.3')).toThrow(
    'a last stage',
  );
});

const CONFIGURATION = [
  ...(['Env', 'User', 'Cmd', 'Entrypoint', 'Healthcheck'] as const),
  ...(['WorkingDir', 'StopSignal', 'ExposedPorts', 'Labels'] as const),
];

const describeWithEngine = missing === '' ? describe : describe.skip;
// A test that is skipped for want of an engine is named so, and not counted with those that take long.
const mark = missing === '' ? ' @heavy' : '';

describeWithEngine(missing === '' ? 'the image' : `the image (not on this machine: ${missing})`, () => {
  let engine: Engine;
  let context: string;
  let base: string;
  let image: string;
  const labels = ['VERSION=9.8.7', 'REVISION=0a1b2c', 'CREATED=2026-01-02T03:04:05Z'];

  beforeAll(async () => {
    engine = createEngine();
    context = mkdtempSync(join(tmpdir(), 'image-context-'));
    const tsx = join(root, 'node_modules/tsx/dist/cli.mjs');
    await promisify(execFile)(process.execPath, [tsx, 'bin/relay-bundle.ts', context], {
      ...{ cwd: root, env: { ...process.env, RELAY_NODE: '/nodejs/bin/node' } },
    });
    // As a package manager may leave them under a strict umask.
    for (const file of readdirSync(context)) chmodSync(join(context, file), 0o600);
    base = `BASE=${await distroless(engine)}`;
    image = await engine.build(
      'localhost/prebuilt',
      context,
      ...[base, ...labels].flatMap((arg) => ['--build-arg', arg]),
    );
  });

  afterAll(async () => {
    rmSync(context, { recursive: true });
    await engine.close();
  });

  test(`says who made it, from what, and how it runs${mark}`, async () => {
    const { config } = await engine.inspect(image);
    const { repository } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    expect(config).toMatchObject({
      ...{ User: '65532:65532', WorkingDir: '/', StopSignal: 'SIGTERM', ExposedPorts: { '8030/tcp': {} } },
      Healthcheck: { Test: ['CMD', 'ld-relay', '--healthcheck'] },
    });
    // The names are those of the OCI image specification, "Pre-Defined Annotation Keys".
    const named = Object.entries(config.Labels).filter(([name]) => name.startsWith('org.opencontainers.image.'));
    expect(Object.fromEntries(named.map(([name, value]) => [name.slice(25), value]))).toEqual({
      ...{ title: 'edge-flag-relay', description: "Relay for LaunchDarkly's feature flags", licenses: 'Apache-2.0' },
      ...{ source: repository.url.replace(/^git\+|\.git$/g, ''), version: '9.8.7', revision: '0a1b2c' },
      ...{ created: '2026-01-02T03:04:05Z', 'base.name': 'localhost/distroless' },
    });
  });

  test(`is built for another platform without running anything of it${mark}`, async () => {
    const other = await engine.commit('localhost/other', (path) => writeFileSync(join(path, 'file'), ''), {
      arch: 'arm64',
    });
    const arm = await engine.build(
      'localhost/arm',
      context,
      '--platform',
      'linux/arm64',
      '--build-arg',
      `BASE=${other}`,
    );
    expect((await engine.inspect(arm)).architecture).toBe('arm64');
  });

  /** Its port and TLS are in its file. */
  async function start({
    user,
  }: {
    readonly user?: string;
  }): Promise<{ relay: Container; base: string; sdkKey: string }> {
    const directory = mkdtempSync(join(tmpdir(), 'image-config-'));
    behind(() => rmSync(directory, { recursive: true }));
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'relay.example' }], { keySize: 2048 });
    const [port, sdkKey] = [await freePort(), 'sdk-image-test'];
    const config =
      `[Main]\nport = ${port}\ntlsEnabled = true\ntlsCert = /tls/crt\ntlsKey = /tls/key\n` +
      `[Environment "local"]\nsdkKey = ${sdkKey}\nflagsFile = /flags.json\n`;
    for (const [name, text] of [
      ['conf', config],
      ['crt', cert],
      ['key', key],
    ] as const) {
      writeFileSync(join(directory, name), text, { mode: 0o644 });
    }
    chmodSync(directory, 0o755);
    const files = {
      ...{ '/ldr/ld-relay.conf': join(directory, 'conf'), '/flags.json': exampleFile },
      ...{ '/tls/crt': join(directory, 'crt'), '/tls/key': join(directory, 'key') },
    };
    const relay = opened(await engine.run(image, { files, env: { DRAIN_WINDOW: '0' }, ...(user && { user }) }));
    await eventually(() => expect(listeningPort(relay.output())).toBe(port));
    return { relay, base: `https://127.0.0.1:${port}`, sdkKey };
  }

  test(`serves from a read-only file system as an unprivileged first process, and its health check finds it${mark}`, async () => {
    const { relay, base, sdkKey } = await start({});
    const inside = `
      const { readFileSync, writeFileSync } = require('node:fs');
      const status = readFileSync('/proc/1/status', 'utf8');
      const of = (name) => status.match(new RegExp('^' + name + ':\\\\s*(\\\\S+)', 'm'))[1];
      let written = 'yes';
      try { writeFileSync('/usr/local/lib/edge-flag-relay/x', ''); } catch ({ code }) { written = code; }
      console.log(JSON.stringify({ uid: of('Uid'), capabilities: of('CapEff'), noNewPrivs: of('NoNewPrivs'), written }));`;
    expect(JSON.parse((await relay.exec(['node', '-e', inside])).output)).toEqual({
      ...{ uid: '65532', capabilities: '0000000000000000', noNewPrivs: '1', written: 'EROFS' },
    });
    const { Healthcheck } = (await engine.inspect(image)).config;
    expect(await relay.exec(Healthcheck.Test.slice(1))).toEqual({ code: 0, output: '' });
    expect(await json(`${base}/status`)).toMatchObject({ environments: { local: { status: 'connected' } } });
    const { flags } = await json(`${base}/sdk/latest-all`, { Authorization: sdkKey });
    expect(Object.keys(flags as object).sort()).toEqual(Object.keys(exampleEnvironment().flags).sort());
    const stream = await openStream(`${base}/all`, sdkKey);
    relay.stop();
    // Closed in order, not cut.
    expect(await stream.ended).toBe('end');
    expect(await relay.exited).toBe(0);
  });

  test(`runs as any user, as on OpenShift${mark}`, async () => {
    const { relay, base } = await start({ user: '1000680000:0' });
    expect(await json(`${base}/status`)).toMatchObject({ environments: { local: { status: 'connected' } } });
    relay.stop();
    expect(await relay.exited).toBe(0);
  });

  test(`takes further arguments like ld-relay's: they replace the file, and variables still count${mark}`, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'image-config-'));
    behind(() => rmSync(directory, { recursive: true }));
    const port = await freePort();
    writeFileSync(join(directory, 'a.conf'), `[Main]\nport = 1\n[Environment "fromFile"]\nsdkKey = sdk-file\n`);
    chmodSync(directory, 0o755);
    const relay = opened(
      await engine.run(image, {
        args: ['--config', '/mine/a.conf'],
        files: { '/mine/a.conf': join(directory, 'a.conf') },
        env: {
          PORT: String(port),
          LD_ENV_fromVariable: 'sdk-variable',
          STREAM_URI: 'http://127.0.0.1:1',
          DRAIN_WINDOW: '0',
        },
      }),
    );
    await eventually(() => expect(listeningPort(relay.output())).toBe(port));
    const answer = await fetch(`http://127.0.0.1:${port}/status`);
    expect(Object.keys(((await answer.json()) as { environments: object }).environments).sort()).toEqual([
      ...['fromFile', 'fromVariable'],
    ]);
    expect((await relay.exec(['ld-relay', '--healthcheck'])).code).toBe(0);
    relay.stop();
    expect(await relay.exited).toBe(0);
  });
  const filesOf = async (image: string) => {
    const { name, path } = await engine.mounted(image);
    behind(() => engine.buildah('rm', name));
    const folder = join(path, 'usr/local/lib/edge-flag-relay');
    return Object.fromEntries(readdirSync(folder).map((file) => [file, readFileSync(join(folder, file), 'utf8')]));
  };

  test(`built from a clone, by npm and with the bundler, is the same but for its version${mark}`, async () => {
    const buildBase = `BUILD_BASE=${await nodeSlim(engine)}`;
    const clone = await engine.build(
      ...(['localhost/clone', root, '--file', 'relay-task/Dockerfile', '--volume', npmCache()] as const),
      ...[base, buildBase, ...labels].flatMap((arg) => ['--build-arg', arg]),
    );
    const [cloned, bundled] = [(await engine.inspect(clone)).config, (await engine.inspect(image)).config];
    for (const name of CONFIGURATION) expect([name, cloned[name]]).toEqual([name, bundled[name]]);
    const files = await filesOf(clone);
    expect(Object.keys(files).sort()).toEqual([
      ...['LICENSE', 'THIRD-PARTY-NOTICES.txt', 'ld-relay', 'relay.cdx.json', 'relay.mjs'],
    ]);
    expect(await filesOf(image)).toEqual(files);
  });
});
