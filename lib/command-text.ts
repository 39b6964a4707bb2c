/**
 * How messages name the commands: as the person who reads them can call them. Everything that is built from this repository runs as
 * JavaScript, and only a clone runs the sources.
 */

/** Whether this code runs from a clone's sources. CommonJS has no `import.meta`, and is always built. */
export const inClone = import.meta.filename?.endsWith('.ts') ?? false;

/** A command with its arguments: `npm run keys -- list prod` in a clone, `edge-flag-relay keys list prod` from the installed package. */
export function commandText(command: string, ...args: readonly string[]): string {
  const script = command === 'start' ? 'npm start' : `npm run ${command}`;
  if (!inClone) return ['edge-flag-relay', command, ...args].join(' ');
  return args.length === 0 ? script : [script, '--', ...args].join(' ');
}
