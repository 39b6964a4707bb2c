/** The relay's own certificate: at the start and when its files are replaced, one after the other. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { generate } from 'selfsigned';
import { eventually } from '../support/eventually.ts';
import { exampleFile } from '../support/example-environment.ts';
import { closeAfterEach } from '../support/opened.ts';
import { startTestRelay } from '../support/start-relay.ts';

const { opened, behind } = closeAfterEach();
const DAY_MS = 86_400_000;

async function pairOf(commonName: string, dates: { notBeforeDate?: Date; notAfterDate?: Date } = {}) {
  const { cert, private: key } = await generate([{ name: 'commonName', value: commonName }], {
    keySize: 2048,
    ...dates,
  });
  return { cert, key };
}

function filesOf({ cert, key }: { cert: string; key: string }) {
  const directory = mkdtempSync(join(tmpdir(), 'certificate-'));
  behind(() => rmSync(directory, { recursive: true }));
  const files = { TLS_CERT: join(directory, 'tls.crt'), TLS_KEY: join(directory, 'tls.key') };
  writeFileSync(files.TLS_CERT, cert);
  writeFileSync(files.TLS_KEY, key);
  return files;
}

const start = (files: Record<string, string>) =>
  startTestRelay(
    { LD_ENV_local: 'sdk-certificate-test', LD_FLAGS_FILE_local: exampleFile, TLS_ENABLED: 'true', ...files },
    { timings: { certificateMs: 20 } },
  );

/** Who answers on the port. */
function nameAt(port: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().subject.CN);
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

test('a key of another kind than the certificate ends the start, with a reason that does not contain it', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const key = privateKey.export({ type: 'sec1', format: 'pem' }).toString();
  const started = start(filesOf({ cert: (await pairOf('a.example')).cert, key }));
  await expect(started).rejects.toMatchObject({
    code: 'CERTIFICATE_INVALID',
    message: 'the TLS certificate and key must be PEM and match each other: they do not match',
  });
});

test('while only one of the two files is replaced the pair in use stays, and then the new one is used @heavy', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const [first, second] = await Promise.all([pairOf('first.example'), pairOf('second.example')]);
  const files = filesOf(first);
  const relay = opened(await start(files));
  const refusals = () => relay.lines.filter(({ message }) => message.startsWith('Cannot use the new TLS certificate'));
  writeFileSync(files.TLS_KEY, privateKey.export({ type: 'sec1', format: 'pem' }));
  const refused = { level: 'error', fields: { reason: expect.stringContaining('do not match') } };
  await eventually(() => expect(refusals().at(-1)).toMatchObject(refused));
  expect(await nameAt(relay.port)).toBe('first.example');
  writeFileSync(files.TLS_CERT, second.cert);
  writeFileSync(files.TLS_KEY, second.key);
  await eventually(async () => expect(await nameAt(relay.port)).toBe('second.example'));
  expect(relay.lines.filter(({ message }) => message.includes('will not accept'))).toEqual([]);
});

test('a certificate that expired, or is not valid yet, is served with a warning, at the start and when it is replaced @heavy', async () => {
  const files = filesOf(await pairOf('old.example', { notBeforeDate: new Date(0), notAfterDate: new Date(DAY_MS) }));
  const relay = opened(await start(files));
  const warnings = () =>
    relay.lines.filter(({ message }) => message.includes('will not accept')).map(({ fields }) => fields?.reason);
  expect(warnings()).toEqual(['it expired on 1970-01-02T00:00:00.000Z']);
  expect(await nameAt(relay.port)).toBe('old.example');
  const year = new Date().getUTCFullYear() + 5;
  const early = await pairOf('early.example', {
    notBeforeDate: new Date(Date.UTC(year, 0)),
    notAfterDate: new Date(Date.UTC(year, 1)),
  });
  writeFileSync(files.TLS_CERT, early.cert);
  writeFileSync(files.TLS_KEY, early.key);
  await eventually(async () => expect(await nameAt(relay.port)).toBe('early.example'));
  await eventually(() =>
    expect(warnings()).toEqual([expect.any(String), `it is not valid before ${year}-01-01T00:00:00.000Z`]),
  );
});
