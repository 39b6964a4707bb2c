import { redactSecrets } from '../common/secrets.ts';

/** Where a value came from, and how it is shown without revealing secrets. */
export type Place =
  | { readonly variable: string }
  | { readonly file: string; readonly line: number; readonly section: string; readonly option: string };

/** `PORT`, or `ld-relay.conf:3: [Main] port`. */
export function nameOf(place: Place): string {
  return 'variable' in place ? place.variable : `${place.file}:${place.line}: [${place.section}] ${place.option}`;
}

/** Several, in their order: a file is named once, `ld-relay.conf:3: [Datadog] enabled, prefix (4), tag (5)`. */
export function namesOf(places: readonly Place[]): string {
  let before: Place | undefined;
  const names = places.map((place) => {
    const last = before;
    before = place;
    if (last === undefined || 'variable' in last || 'variable' in place || last.file !== place.file) {
      return nameOf(place);
    }
    const section = last.section === place.section ? '' : `[${place.section}] `;
    return `${section}${place.option} (${place.line})`;
  });
  return names.join(', ');
}

/** `PORT=80`, or `ld-relay.conf:3: [Main] port = 80`. */
export function assignmentAt(place: Place, shown: string): string {
  return `${nameOf(place)}${'variable' in place ? '=' : ' = '}${shown}`;
}

/** `PORT`, or `ld-relay.conf:3`. */
export function originOf(place: Place): string {
  return 'variable' in place ? place.variable : `${place.file}:${place.line}`;
}

/** A value in a message. A key in the wrong setting or a password in a URL must not reach a log. */
export function masked(value: string, secret = false): string {
  if (secret) return '…';
  return redactSecrets(value);
}

/** A secret in a report: enough of LaunchDarkly's long keys to tell two apart, nothing of other secrets. */
export function obscured(secret: string): string {
  const [prefix = ''] = /^(?:[a-z]{3}-)+/.exec(secret) ?? [];
  return `${prefix}********${prefix !== '' && secret.length - prefix.length >= 20 ? secret.slice(-4) : ''}`;
}
