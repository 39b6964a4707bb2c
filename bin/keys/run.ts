import { environmentsPath } from '../../relay-task/environments/ssm-parameters.ts';
import { usageLine } from '../cli/usage.ts';
import { type KeysCommand, parseArguments, usage } from './arguments.ts';
import { list, put, Refused, revoke, rotate } from './commands.ts';
import { describeAwsError, type KeyStore, kmsKeyOf, openKeyStore, otherRegionsOf, regionOf } from './store.ts';
import { Declined, type Terminal } from './terminal.ts';

/** Returns the exit code: 0 success, 1 failure, 2 usage error. */
export async function runKeys(args: readonly string[], terminal: Terminal): Promise<number> {
  const command = parseArguments(args);
  if (command === 'help') {
    terminal.out(usage);
    return 0;
  }
  if ('problems' in command) return misunderstood(command.problems, terminal);
  const { stage, endpoint } = command;
  const region = regionOf(stage, command.region);
  if (region === undefined) {
    return misunderstood(
      [`Stage ${stage} is unknown and no region is set. Pass --region, e.g. --region eu-west-1`],
      terminal,
    );
  }
  let store: KeyStore | undefined;
  try {
    store = openKeyStore({ path: environmentsPath(stage), region, endpoint });
    await perform(command, store, terminal);
    const elsewhere = command.verb === 'list' ? [] : otherRegionsOf(stage, region);
    for (const other of elsewhere)
      terminal.say(`Relays in ${other} read their own parameters; repeat this with --region ${other}.\n`);
    return 0;
  } catch (error) {
    if (error instanceof Declined) terminal.say(`Nothing was changed: ${error.message}.\n`);
    else terminal.say(`${error instanceof Refused ? error.message : describeAwsError(error, region)}\n`);
    return 1;
  } finally {
    store?.close();
  }
}

function perform(command: KeysCommand, store: KeyStore, terminal: Terminal): Promise<void> {
  switch (command.verb) {
    case 'list':
      return list(store, command, terminal);
    case 'put':
      return put(store, { kmsKey: kmsKeyOf(command.stage, store.region), ...command }, terminal);
    case 'rotate':
      return rotate(store, { kmsKey: kmsKeyOf(command.stage, store.region), ...command }, terminal);
    case 'revoke':
      return revoke(store, command, terminal);
  }
}

function misunderstood(problems: readonly string[], { say }: Terminal): number {
  for (const problem of problems) say(`${problem}\n`);
  say(usageLine('keys'));
  return 2;
}
