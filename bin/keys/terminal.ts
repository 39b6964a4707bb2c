/** A command's input and output: a terminal, or pipes. */
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';

export interface Terminal {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  /** Results. */
  out(text: string): void;
  /** Questions, progress and errors. */
  say(text: string): void;
}

/** The user pressed Ctrl-C, closed the input or answered no. */
export class Declined extends Error {}

/** A value: a pipe's whole content without the final line feed, or a typed line, hidden unless `shown`. */
export async function readValue(terminal: Terminal, question: string, { shown }: { shown: boolean }): Promise<string> {
  if (!terminal.stdin.isTTY) return (await readAll(terminal.stdin)).replace(/\r?\n$/, '');
  return ask(terminal, `${question}${shown ? '' : ' (hidden)'}: `, shown);
}

/** Asks whether to continue; without a terminal the answer is no. */
export async function confirm(terminal: Terminal, question: string): Promise<boolean> {
  if (!terminal.stdin.isTTY) return false;
  return /^y(es)?$/i.test((await ask(terminal, `${question} [y/N] `, true)).trim());
}

function ask({ stdin, say }: Terminal, question: string, shown: boolean): Promise<string> {
  say(question);
  // With `terminal`, readline turns off the terminal's echo; its own output is discarded.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: stdin, output: nowhere, terminal: !shown });
  return new Promise((resolve, reject) => {
    let answered = false;
    lines.once('line', (line) => {
      answered = true;
      lines.close();
      if (!shown) say('\n');
      resolve(line);
    });
    lines.once('SIGINT', () => lines.close());
    lines.once('close', () => {
      if (!answered) reject(new Declined('no answer'));
    });
  });
}

async function readAll(stdin: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString();
}
