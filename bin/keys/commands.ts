import { looksLikeKey, obscureKey } from '../../relay-task/common/secrets.ts';
import {
  addRevoked,
  dateTime,
  isParameterName,
  parseRevoked,
  type SsmParameterName,
  ssmParameters,
  storedPlainly,
  unlikely,
  withoutEverything,
} from '../../relay-task/environments/ssm-parameters.ts';
import type { KeysCommand } from './arguments.ts';
import type { KeyStore, StoredParameter } from './store.ts';
import { tableOf } from './table.ts';
import { confirm, Declined, readValue, type Terminal } from './terminal.ts';

type Of<Verb extends KeysCommand['verb']> = Extract<KeysCommand, { verb: Verb }>;

/** Nothing was written; the message says what the operator has to change. */
export class Refused extends Error {}

const withinAMinute = 'Relays pick it up within a minute.';

/** Names, types, versions, dates; values of plain settings only. */
export async function list(store: KeyStore, { ends }: Of<'list'>, { out, say }: Terminal): Promise<void> {
  const listed = await store.list();
  const parameters = ends ? await store.decrypt(listed) : listed;
  if (parameters.length === 0) return out(`No environments in ${store.region} yet.\n`);
  const rows = parameters.map(({ name, type, version, modifiedAt, text, problem }) => [
    name,
    type,
    String(version),
    modifiedAt.toISOString().slice(0, 19).replace('T', ' '),
    problem === undefined ? shownValue(name, text, ends) : '(cannot be decrypted)',
  ]);
  out(tableOf([['parameter', 'type', 'version', 'changed (UTC)', 'value'], ...rows]));
  for (const { name, problem } of parameters) if (problem !== undefined) say(`Cannot decrypt ${name}: ${problem}\n`);
  for (const { name, text, type } of listed) {
    const isPlain = text !== undefined && type !== 'SecureString' && isSecret(name);
    if (isPlain) say(`Warning: ${storedPlainly(name)}.\n`);
  }
}

/** Whether the parameter holds something that clients present. */
function isCredential(name: string): boolean {
  return isParameterName(name) && ssmParameters[name].key && name !== 'previous-sdk-key-until';
}

function isSecret(path: string): boolean {
  const name = path.split('/')[1] ?? '';
  return isParameterName(name) && ssmParameters[name].secret;
}

function shownValue(path: string, text: string | undefined, ends: boolean): string {
  const name = path.split('/')[1] ?? '';
  if (text === undefined || !isParameterName(name)) return '';
  if (ssmParameters[name].secret) return ends ? endOf(text) : '';
  if (name === 'revoked') return parseRevoked(text).everything ? 'the whole environment' : 'keys';
  const ended = name === 'previous-sdk-key-until' && hasEnded(text);
  return looksLikeKey(text) ? obscureKey(text) : `${text}${ended ? ' (expired)' : ''}`;
}

export async function put(store: KeyStore, command: Of<'put'>, terminal: Terminal): Promise<void> {
  const { environment, what, kmsKey, yes } = command;
  const { secret } = ssmParameters[what];
  const value = await acceptable(what, terminal, `${environment}/${what}`);
  const listed = await store.list();
  const named = (name: string) => listed.find((one) => one.name === `${environment}/${name}`);
  refuseRevoked(named('revoked')?.text, environment, value);
  const held = await store.decrypt([named(what) ?? [], rivalsOf(what, environment, listed)].flat());
  const before = held.find(({ name }) => name === `${environment}/${what}`);
  refuseForeign(held, environment, value, listed, terminal);
  if (secret && before?.text === value) return terminal.out(`${environment}/${what} already has this value.\n`);
  if (before !== undefined && what === 'sdk-key') {
    const warning = `${environment}/sdk-key ${endOf(before.text)} stops working at once; \`rotate\` keeps both working for a while. Replace it?`;
    await agree(terminal, warning, yes);
  }
  await reopen(store, environment, named('revoked')?.text);
  const version = await store.put(`${environment}/${what}`, value, { secret, kmsKey });
  terminal.out(`${environment}/${what} ${secret ? `${endOf(value)} ` : ''}is version ${version}. ${withinAMinute}\n`);
}

/** The order of the writes keeps the old key valid for relays that read in between. */
export async function rotate(store: KeyStore, command: Of<'rotate'>, terminal: Terminal): Promise<void> {
  const { environment, graceMs, kmsKey, yes } = command;
  const name = (what: SsmParameterName) => `${environment}/${what}`;
  const listed = await store.list();
  const own = listed.filter((one) => one.name.startsWith(`${environment}/`));
  const held = await store.decrypt([...own, ...rivalsOf('sdk-key', environment, listed)]);
  const found = (what: SsmParameterName) => held.find((one) => one.name === name(what));
  const [current, previous, until] = [found('sdk-key'), found('previous-sdk-key'), found('previous-sdk-key-until')];
  if (current?.text === undefined) {
    const replacing = `\`put ${command.stage} ${environment} sdk-key\``;
    throw new Refused(
      current === undefined
        ? `${name('sdk-key')} does not exist; create it with ${replacing}`
        : `${name('sdk-key')} cannot be decrypted, so it cannot become the previous key: ${current.problem}. ${replacing} replaces it at once`,
    );
  }
  const value = await acceptable('sdk-key', terminal, `the new ${name('sdk-key')}`);
  refuseRevoked(found('revoked')?.text, environment, value);
  refuseForeign(held, environment, value, listed, terminal);
  if (value === current.text) throw new Refused(`${name('sdk-key')} already has this value; nothing to rotate`);
  const inGrace = until?.text !== undefined && !hasEnded(until.text) && previous?.text !== current.text;
  if (previous !== undefined && inGrace) {
    const warning = `The previous key, ${endOf(previous.text)}, works until ${until?.text}. Relays that start after this rotation will reject it. Continue?`;
    await agree(terminal, warning, yes);
  }
  const ends = new Date(Date.now() + graceMs).toISOString().replace(/\.\d+Z$/, 'Z');
  await store.put(name('previous-sdk-key'), current.text, { secret: true, kmsKey });
  await store.put(name('previous-sdk-key-until'), ends, { secret: false });
  const version = await store.put(name('sdk-key'), value, { secret: true, kmsKey });
  terminal.out(
    `${name('sdk-key')} ${endOf(value)} is version ${version}. ${withinAMinute}\n` +
      `The previous one, ${endOf(current.text)}, works until ${ends}. Set the same time in LaunchDarkly.\n`,
  );
}

/** Writes `revoked` first, so that no relay mistakes the missing parameter for an accident. */
export async function revoke(store: KeyStore, command: Of<'revoke'>, terminal: Terminal): Promise<void> {
  const { environment, what, yes } = command;
  const all = what === 'environment';
  const present = (await store.list()).filter(({ name }) => name.startsWith(`${environment}/`));
  if (present.length === 0) throw new Refused(`environment ${environment} does not exist`);
  const keys = await store.decrypt(
    present.filter(({ name }) => {
      const parameter = name.slice(environment.length + 1);
      return all ? isCredential(parameter) : parameter === what;
    }),
  );
  const values = keys.flatMap(({ text }) => (text === undefined ? [] : [text.trim()]));
  for (const { name, problem } of keys) if (problem) terminal.say(`Cannot decrypt ${name}: ${problem}\n`);
  if (values.length === 0 && !all) {
    const where =
      keys.length === 0 ? 'is not in SSM. To revoke a key that was there' : 'is still to be revoked. For that';
    terminal.say(`${environment}/${what} ${where}, enter it.\n`);
    values.push((await readValue(terminal, 'The key to revoke', { shown: false })).trim());
    if (values[0] === '') throw new Refused('No key given');
  }
  const object = all ? `Environment ${environment} with all its keys` : `${environment}/${what} ${endOf(values[0])}`;
  await agree(terminal, `${object} stops working at once and cannot be used again. Revoke it?`, yes);
  const marker = present.find(({ name }) => name === `${environment}/revoked`);
  await store.put(`${environment}/revoked`, addRevoked(marker?.text, values, all), { secret: false });
  await store.remove(namesToRemove(present, environment, what));
  terminal.out(`${object} is revoked. ${withinAMinute} Reset it in LaunchDarkly too.\n`);
}

function namesToRemove(present: readonly StoredParameter[], environment: string, what: Of<'revoke'>['what']): string[] {
  const also = what === 'previous-sdk-key' ? ['previous-sdk-key-until'] : [];
  return present
    .map(({ name }) => name)
    .filter((name) => name !== `${environment}/revoked`)
    .filter((name) => what === 'environment' || [what, ...also].some((one) => name === `${environment}/${one}`));
}

/** A value that the relay would accept. */
async function acceptable(what: SsmParameterName, terminal: Terminal, question: string): Promise<string> {
  const { secret, read } = ssmParameters[what];
  const value = (await readValue(terminal, question, { shown: !secret })).trim();
  const result = value === '' ? { wanted: 'a value; got none' } : read(value);
  if ('wanted' in result) throw new Refused(`${what} must be ${result.wanted}`);
  const oddity = unlikely(what, value);
  if (oddity !== undefined) terminal.say(`Note: ${oddity}.\n`);
  return value;
}

function refuseRevoked(revoked: string | undefined, environment: string, value: string): void {
  if (parseRevoked(revoked).has(value)) {
    throw new Refused(`this key of ${environment} was revoked; reset it in LaunchDarkly and enter the new one`);
  }
}

/** Parameters of other environments that could have the same credential. */
function rivalsOf(
  what: SsmParameterName,
  environment: string,
  listed: readonly StoredParameter[],
): readonly StoredParameter[] {
  const names = what.endsWith('sdk-key') ? ['sdk-key', 'previous-sdk-key'] : [what];
  if (!isCredential(what)) return [];
  return listed.filter(({ name }) => {
    const [other, parameter = ''] = name.split('/');
    return other !== environment && names.includes(parameter);
  });
}

/** Two environments with one credential could not be told apart. */
function refuseForeign(
  held: readonly StoredParameter[],
  environment: string,
  value: string,
  listed: readonly StoredParameter[],
  terminal: Terminal,
): void {
  const others = held.filter(({ name }) => name.split('/')[0] !== environment);
  const textOf = (name: string) => listed.find((one) => one.name === name)?.text;
  const owner = others.find(({ name, text }) => {
    const [other, parameter] = name.split('/');
    const revoked = parseRevoked(textOf(`${other}/revoked`));
    const until = parameter === 'previous-sdk-key' ? textOf(`${other}/previous-sdk-key-until`) : undefined;
    const counts = !revoked.everything && !revoked.has(value) && (until === undefined || !hasEnded(until));
    return counts && text?.trim() === value;
  });
  if (owner !== undefined) {
    throw new Refused(
      `${owner.name} already has this value. Each environment needs its own: copy the one of ${environment} from LaunchDarkly`,
    );
  }
  const hidden = others.filter(({ problem }) => problem !== undefined);
  if (hidden.length === 0) return;
  const names = hidden.map(({ name }) => name).join(', ');
  terminal.say(`Note: could not compare it with ${names}: ${hidden[0]?.problem}\n`);
}

/** Reopens an environment that was revoked as a whole; its old keys stay revoked. */
async function reopen(store: KeyStore, environment: string, text: string | undefined): Promise<void> {
  const name = `${environment}/revoked`;
  if (text === undefined || !parseRevoked(text).everything) return;
  const rest = withoutEverything(text);
  if (rest === undefined) await store.remove([name]);
  else await store.put(name, rest, { secret: false });
}

async function agree(terminal: Terminal, question: string, yes: boolean): Promise<void> {
  if (yes || (await confirm(terminal, question))) return;
  if (!terminal.stdin.isTTY) terminal.say(`${question}\n`);
  throw new Declined(terminal.stdin.isTTY ? 'declined' : 'cannot ask for confirmation without a terminal; pass --yes');
}

function hasEnded(until: string): boolean {
  const result = dateTime(until);
  return 'value' in result && Date.now() > result.value;
}

/** The last characters, enough to tell keys apart. */
function endOf(value: string | undefined): string {
  return value !== undefined && value.length >= 20 ? `…${value.slice(-4)}` : '…';
}
