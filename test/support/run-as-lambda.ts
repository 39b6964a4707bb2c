/** Runs code against a built file in its own process, as Lambda would: reserved variables only, none of our folders. */
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';

/** `script` is the body of an async function that sees `file` and `input`; what it returns comes back as JSON. */
export async function runAsLambda(
  file: string,
  script: string,
  input: unknown = null,
  env: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const code = `const file = ${JSON.stringify(file)}; const input = ${JSON.stringify(input)};
    (async () => { ${script} })().then((result) => { console.log(JSON.stringify(result ?? null)); process.exit(0); });`;
  const credentials = { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b', AWS_SESSION_TOKEN: 'c' };
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['-e', code], {
    cwd: tmpdir(),
    env: { AWS_REGION: 'eu-west-1', ...credentials, ...env },
    timeout: 170_000,
    maxBuffer: 16 * 1024 * 1024,
  });
  if (stderr !== '') throw new Error(stderr);
  // Lines before it are the function's log.
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '');
}

/**
 * Source of `decide(handler, event)` for `runAsLambda`: asks the router until it knows the flags. On a busy machine the
 * first read may take longer than a viewer waits for it.
 */
export const decideSource = `const decide = async (handler, event) => {
  for (;;) {
    const request = await handler(structuredClone(event));
    if (!request.headers['x-flag-decision'][0].value.endsWith('CLIENT_NOT_READY')) return request;
  }
};`;
