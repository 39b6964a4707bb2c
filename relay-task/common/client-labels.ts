/** How ld-relay names clients, in its metrics and in what it tells LaunchDarkly. */
import type { CredentialKind } from '../ports.ts';

export const platforms: Readonly<Record<CredentialKind, string>> = {
  sdkKey: 'server',
  mobileKey: 'mobile',
  environmentId: 'browser',
};

/** Without slashes, and never empty. */
export function labelValue(text: string): string {
  return text.replaceAll('/', '_') || '_';
}
