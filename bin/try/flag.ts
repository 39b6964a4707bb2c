import { nearest } from '../../relay-task/common/edit-distance.ts';
import { askFlag } from '../dev/ask-flag.ts';
import { flagsOf } from '../dev/known-flags.ts';
import type { SampleContext } from '../dev/sample-contexts.ts';
import { sdkKeyOf, type Trial, WrongArguments } from './trial.ts';

export async function tryFlag(trial: Trial): Promise<number> {
  const { running, args, output } = trial;
  const { flagKey, context } = parse(args, running.flagKey);
  const at = { relayUrl: running.relayUrl, sdkKey: sdkKeyOf(trial) };
  const { value, reason = '', variant, errorCode, errorDetails } = await askFlag(at, flagKey, context);
  if (errorCode === 'FLAG_NOT_FOUND') {
    const keys = Object.keys((await flagsOf(at.relayUrl, at.sdkKey)) ?? {});
    const near = nearest(flagKey, keys);
    const meant = near === undefined ? `expected one of ${keys.slice(0, 20).join(', ')}` : `did you mean ${near}?`;
    output.say(`There is no flag ${flagKey}: ${meant}\n`);
    return 1;
  }
  if (errorCode !== undefined) {
    output.say(`${flagKey}: ${errorCode}${errorDetails === undefined ? '' : `: ${errorDetails}`}\n`);
    return 1;
  }
  const which = variant === undefined ? reason : `${reason}, variation ${variant}`;
  output.out(`${flagKey} = ${output.paint('bold', JSON.stringify(value) ?? 'the default of the code')}  ${which}\n`);
  return 0;
}

/** `flag key attribute=value …`, each of which may be missing; a value is read as JSON if it is valid JSON, otherwise as text. */
function parse(
  args: readonly string[],
  routing: string | undefined,
): { readonly flagKey: string; readonly context: SampleContext } {
  const words = args.filter((one) => !one.includes('='));
  const [flagKey = routing, key = 'ada', ...more] = words;
  if (flagKey === undefined || more.length > 0) throw new WrongArguments('expected a flag, and the key of a user');
  const attributes = args
    .filter((one) => one.includes('='))
    .map((one): [string, string | number | boolean] => {
      const [, name = '', text = ''] = /^([^=]*)=(.*)$/s.exec(one) ?? [];
      if (name === '') throw new WrongArguments(`expected attribute=value, not ${one}`);
      return [name, readValue(text)];
    });
  return { flagKey, context: { key, attributes: Object.fromEntries(attributes) } };
}

function readValue(text: string): string | number | boolean {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
