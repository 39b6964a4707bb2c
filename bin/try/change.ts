import { readFileSync, writeFileSync } from 'node:fs';
import { isObject } from '../../relay-task/common/json.ts';
import { shownPath } from '../dev/plain-log.ts';
import { type Trial, WrongArguments } from './trial.ts';

/** Edits the copy of the example: how many percent of viewers its flag gives the second value. Never edits another file. */
export async function tryChange({ running, args, output }: Trial): Promise<number> {
  const [text = '100', ...more] = args;
  if (!/^(100|\d{1,2})%?$/.test(text) || more.length > 0)
    throw new WrongArguments(`expected percent from 0 to 100, not ${args.join(' ')}`);
  const { flagsFile, isCopy, flagKey = '' } = running;
  if (flagsFile === undefined) {
    output.say(`Flags come from LaunchDarkly: change ${flagKey} there\n`);
    return 1;
  }
  if (!isCopy) {
    output.say(
      `${shownPath(flagsFile)} is yours, and no command edits it: change flag ${flagKey} in an editor, and save\n`,
    );
    return 1;
  }
  const file: unknown = JSON.parse(readFileSync(flagsFile, 'utf8'));
  const flag = isObject(file) && isObject(file.flags) ? file.flags[flagKey] : undefined;
  if (!isObject(flag)) throw new Error(`${flagsFile} has no flag ${flagKey}`);
  const percent = Number.parseInt(text, 10);
  const weights = [100 - percent, percent].map((one, variation) => ({ variation, weight: one * 1_000 }));
  const changed = { ...flag, fallthrough: { rollout: { variations: weights } } };
  const flags = { ...(file as { readonly flags: object }).flags, [flagKey]: changed };
  writeFileSync(flagsFile, `${JSON.stringify({ ...(file as object), flags }, undefined, 2)}\n`);
  const [first = '', second = ''] = (Array.isArray(flag.variations) ? flag.variations : []).map(String);
  output.out(
    `${flagKey}: ${100 - percent}% ${first}, ${percent}% ${second}. The other terminal shows when it has arrived.\n`,
  );
  return 0;
}
