/**
 * How messages name the commands: as the person who reads them can call them. Everything that is built from this repository runs as
 * JavaScript, and only a clone runs the sources.
 */

/** Whether this code runs from a clone's sources. CommonJS has no `import.meta`, and is always built. */
export const inClone = import.meta.filename?.endsWith('.ts') ?? false;

/** Whether npx runs the command, which then is installed in a project and not on the PATH. npm 11 quotes its name. */
const byNpx =
  process.env.npm_command === 'exec' &&
  /^['"]?(edge-flag-relay|ld-relay)['"]?(\s|$)/.test(process.env.npm_lifecycle_script ?? '');

/** A command with its arguments: `npm run keys -- list prod` in a clone, `edge-flag-relay keys list prod` from the installed package, with `npx` before it if npx runs it. */
export function commandText(command: string, ...args: readonly string[]): string {
  const script = command === 'start' ? 'npm start' : `npm run ${command}`;
  if (!inClone) return [...(byNpx ? ['npx'] : []), 'edge-flag-relay', command, ...args].join(' ');
  return args.length === 0 ? script : [script, '--', ...args].join(' ');
}
