import type { Running } from '../dev/running.ts';

export interface Trial {
  readonly running: Running;
  readonly args: readonly string[];
  readonly output: TryOutput;
}

export interface TryOutput {
  out(text: string): void;
  /** Problems. */
  say(text: string): void;
  readonly env: Readonly<Record<string, string | undefined>>;
  paint(colour: 'green' | 'yellow' | 'bold' | 'dim', text: string): string;
}

/** The arguments are wrong; the message says what is expected. */
export class WrongArguments extends Error {}

/** The key of the environment: in the environment variables unless flags come from a file. Throws an Error. */
export function sdkKeyOf({ running, output }: Trial): string {
  const { sdkKey, environment } = running;
  const key = sdkKey ?? output.env[`LD_ENV_${environment}`] ?? output.env.LD_SDK_KEY;
  if (key === undefined || key === '') {
    const name = environment === 'local' ? 'LD_SDK_KEY' : `LD_ENV_${environment}`;
    throw new Error(`No SDK key: set ${name} in this terminal, too`);
  }
  return key;
}
