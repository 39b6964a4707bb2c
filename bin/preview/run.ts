import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { PREVIEW_PATH, unsignedPreview } from '../../lambda/edge-router/preview-token.ts';
import { commandText } from '../../lib/command-text.ts';
import { usageLine } from '../cli/usage.ts';
import { readValue, type Terminal } from '../keys/terminal.ts';
import { type PreviewCommand, parseArguments, usage } from './arguments.ts';

/** Returns the exit code: 0 success, 1 failure, 2 usage error. */
export async function runPreview(args: readonly string[], terminal: Terminal): Promise<number> {
  const command = parseArguments(args);
  if (command === 'help') {
    terminal.out(usage);
    return 0;
  }
  if ('problems' in command) {
    for (const problem of command.problems) terminal.say(`${problem}\n`);
    terminal.say(usageLine('preview'));
    return 2;
  }
  try {
    terminal.out(`${command.verb === 'new-key' ? newKey(command.file) : await link(command, terminal)}\n`);
    return 0;
  } catch (error) {
    terminal.say(`${(error as Error).message}\n`);
    return 1;
  }
}

/** Returns the public key. Throws an Error if the file exists: a key that links were made with is never overwritten. */
function newKey(file: string): string {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx' });
  return String(publicKey.export({ format: 'jwk' }).x);
}

async function link(
  { stage, flags, site, to, key, forMs }: Extract<PreviewCommand, { verb: 'link' }>,
  terminal: Terminal,
): Promise<string> {
  const text = key === '-' ? await readValue(terminal, 'Private key', { shown: false }) : readFileSync(key, 'utf8');
  const issuedAt = Math.floor(Date.now() / 1_000);
  const expiresAt = issuedAt + Math.floor(forMs / 1_000);
  const { message, token } = unsignedPreview({ flags, issuedAt, expiresAt, stage, host: site.host });
  const query = new URLSearchParams({ t: token(sign(null, message, privateKeyOf(text, key))), to });
  return `${site.origin}${PREVIEW_PATH}?${query}`;
}

/** The message never repeats what was read. */
function privateKeyOf(text: string, from: string): KeyObject {
  let key: KeyObject | undefined;
  try {
    key = createPrivateKey(text);
  } catch {}
  if (key?.asymmetricKeyType === 'ed25519') return key;
  const where = from === '-' ? 'Standard input' : from;
  throw new Error(`${where} holds no private key of \`${commandText('preview', 'new-key')}\` (Ed25519, PEM)`);
}
