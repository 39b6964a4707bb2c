import type { Credential } from '../ports.ts';

/** Identifies a credential within a relay. */
export function credentialId({ kind, value }: Pick<Credential, 'kind' | 'value'>): string {
  return `${kind} ${value}`;
}
