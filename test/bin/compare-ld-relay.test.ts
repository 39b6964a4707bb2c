/** The command on a real ld-relay: the binary at LD_RELAY, or the one that `test/interop/install.sh` built. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runCompare } from '../../bin/compare/run.ts';
import { until } from '../support/eventually.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { freePort } from '../support/free-port.ts';
import { flagData, segmentData } from '../support/items.ts';
import { closeAfterEach } from '../support/opened.ts';
import { startTestRelay } from '../support/start-relay.ts';
import { environmentId, mobileKey, sdkKey } from './compare/stand-in.ts';

const binary = process.env.LD_RELAY ?? join(import.meta.dirname, '../../.cache/interop/ld-relay');
const isThere = existsSync(binary);
const { opened, behind } = closeAfterEach();

const keys = { LD_ENV_Shop: sdkKey, LD_MOBILE_KEY_Shop: mobileKey, LD_CLIENT_SIDE_ID_Shop: environmentId };
const visible = { clientSide: true, clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true } };
const rollout = { variations: [0, 1].map((variation) => ({ variation, weight: 50_000 })) };
const rules = [
  {
    ...{ id: 'r', variation: 1, trackEvents: true },
    clauses: [{ attribute: 'email', op: 'endsWith', values: ['@example.com'], negate: false }],
  },
];
const served = (version: number) => ({
  flags: {
    a: flagData('a', version, { ...visible, fallthrough: { rollout }, rules }),
    b: flagData('b', 1, { ...visible, prerequisites: [{ key: 'a', variation: 0 }] }),
  },
  segments: { s: segmentData('s', 2, { included: ['alice'] }) },
});

/** A real one on a free port, with data. */
async function startLdRelay(upstreamUri: string, variables: Readonly<Record<string, string>>): Promise<string> {
  const port = await freePort();
  const uris = {
    STREAM_URI: upstreamUri,
    BASE_URI: upstreamUri,
    EVENTS_HOST: upstreamUri,
    CLIENT_SIDE_BASE_URI: upstreamUri,
  };
  const child = spawn(binary, ['--from-env'], { env: { ...uris, ...variables, PORT: String(port) }, stdio: 'ignore' });
  behind(async () => {
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await exited;
  });
  const uri = `http://127.0.0.1:${port}`;
  await until('ld-relay to have data', async () => {
    const status = await fetch(`${uri}/status`).catch(() => undefined);
    return status !== undefined && ((await status.json()) as { status: string }).status === 'healthy';
  });
  return uri;
}

async function compare(old: string, fresh: string, ...args: string[]) {
  let printed = '';
  const exitCode = await runCompare([old, fresh, ...args], {
    out: (text) => (printed += text),
    say: (text) => (printed += text),
    ...{ env: keys, pause: async () => {} },
  });
  return { exitCode, printed };
}

(isThere ? describe : describe.skip)(`a real ld-relay${isThere ? '' : ' (needs ld-relay)'}`, () => {
  test('that gets the same flags serves the same as this relay, to servers, browsers and mobile SDKs', async () => {
    const upstream = opened(await startFakeUpstream(served(1)));
    const fresh = opened(await startTestRelay({ ...keys, STREAM_URI: upstream.uri, BASE_URI: upstream.uri }));
    await fresh.initialized();
    const old = await startLdRelay(upstream.uri, keys);
    const { exitCode, printed } = await compare(
      old,
      fresh.uri,
      '--context',
      '{"kind":"user","key":"x","email":"x@example.com"}',
    );
    expect({ exitCode, printed }).toEqual({
      exitCode: 0,
      printed: expect.stringContaining('✓ Shop: the same 2 flags and 1 segment'),
    });
    expect(printed).toContain('and 8 evaluations with the same values');
    expect(printed).not.toContain('harmless');
  });

  test('that gets other flags, and offers more, is told apart', async () => {
    const [older, newer] = [opened(await startFakeUpstream(served(1))), opened(await startFakeUpstream(served(2)))];
    newer.data.flags.a = flagData('a', 2, { ...visible, on: false });
    const fresh = opened(await startTestRelay({ LD_ENV_Shop: sdkKey, STREAM_URI: newer.uri, BASE_URI: newer.uri }));
    await fresh.initialized();
    const old = await startLdRelay(older.uri, {
      ...keys,
      LD_ENV_Other: 'sdk-other',
      USE_EVENTS: 'true',
      LD_SECURE_MODE_Shop: 'true',
    });
    const { exitCode, printed } = await compare(old, fresh.uri, '--wait', '0s');
    expect(exitCode).toBe(1);
    for (const told of [
      '    flag a: version 1 on the old relay, 2 on the new',
      '✗ Shop: the old relay serves browsers, the new one has no client-side ID',
      '✗ Shop: the old relay serves mobile SDKs, the new one has no mobile key',
      '✗ Shop: the old relay forwards events, the new one does not',
      '✗ Other: only the old relay serves this environment',
    ])
      expect(printed).toContain(told);
  });
});
