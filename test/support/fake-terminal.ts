import { PassThrough } from 'node:stream';
import type { Terminal } from '../../bin/keys/terminal.ts';

export interface FakeTerminal extends Terminal {
  /** The output on stdout. */
  readonly printed: () => string;
  /** Questions and other messages. */
  readonly said: () => string;
}

/** A pipe that holds `input`. */
export function pipeOf(input = ''): FakeTerminal {
  const stdin = new PassThrough();
  stdin.end(input);
  return around(stdin);
}

/** A terminal where a user types these lines, each after one question. `^C` is Ctrl-C. */
export function personTyping(...lines: string[]): FakeTerminal {
  const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => stdin });
  const terminal = around(stdin);
  return {
    ...terminal,
    say(text) {
      terminal.say(text);
      // Answers only after the question was printed and the program reads its input.
      if (!/(: |\[y\/N\] )$/.test(text)) return;
      const line = lines.shift();
      setTimeout(() => (line === undefined ? stdin.end() : stdin.write(line === '^C' ? '\x03' : `${line}\n`)), 5);
    },
  };
}

function around(stdin: PassThrough): FakeTerminal {
  let printed = '';
  let said = '';
  return {
    stdin,
    out(text) {
      printed += text;
    },
    say(text) {
      said += text;
    },
    printed: () => printed,
    said: () => said,
  };
}
