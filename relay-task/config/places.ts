/** Where a value came from, and how it is shown without giving secrets away. */
export type Place =
  | { readonly variable: string }
  | { readonly file: string; readonly line: number; readonly section: string; readonly option: string };

/** `PORT`, or `ld-relay.conf:3: [Main] port`. */
export function nameOf(place: Place): string {
  return 'variable' in place ? place.variable : `${place.file}:${place.line}: [${place.section}] ${place.option}`;
}

/** `PORT=80`, or `ld-relay.conf:3: [Main] port = 80`. */
export function assignmentAt(place: Place, shown: string): string {
  return `${nameOf(place)}${'variable' in place ? '=' : ' = '}${shown}`;
}

/** `PORT`, or `ld-relay.conf:3`. */
export function originOf(place: Place): string {
  return 'variable' in place ? place.variable : `${place.file}:${place.line}`;
}

/** A value in a message: a key pasted into the wrong setting and a password in an address must not reach a log. */
export function masked(value: string, secret = false): string {
  if (secret) return '…';
  return value.replace(/(^|[\s,;="'])((?:sdk|mob|rel|api)-)[\w-]+/g, '$1$2…').replace(/(\/\/)[^/\s]*@/g, '$1…@');
}

/** A secret as a print-out shows it: of LaunchDarkly's long keys enough to tell two apart, of anything else nothing. */
export function obscured(secret: string): string {
  const [prefix = ''] = /^(?:[a-z]{3}-)+/.exec(secret) ?? [];
  return `${prefix}********${prefix !== '' && secret.length - prefix.length >= 20 ? secret.slice(-4) : ''}`;
}
