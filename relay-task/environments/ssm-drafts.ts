import type { Problems } from '../common/findings.ts';
import type { Credential, CredentialKind } from '../ports.ts';
import { type Held, type HeldParameters, writtenAtOf } from './ssm-memory.ts';
import {
  dateTime,
  parseRevoked,
  type Revoked,
  type SsmParameterName,
  ssmParameters,
  storedPlainly,
  unlikely,
} from './ssm-parameters.ts';

/** One credential that an environment claims, and what decides between two claims. */
export interface Claim extends Credential {
  readonly environment: string;
  readonly parameter: string;
  /** `missing`: its parameter is not in SSM, and it counts for the grace time. `replaced`: it gives way to any other. */
  readonly standing: 'present' | 'missing' | 'replaced';
  /** Unix ms, of a missing one. */
  readonly missingSince?: number;
  readonly modifiedAt: number;
}

/** An environment before the claims of others are known. */
export interface Draft extends Problems {
  readonly id: string;
  readonly parameters: HeldParameters;
  readonly revoked: Revoked;
  readonly claims: Claim[];
  readonly problems: readonly string[];
  readonly oddities: string[];
}

export interface Moment {
  readonly now: number;
  /** Values that changed are still to be read: nothing that was replaced is confirmed by this. */
  readonly partial: boolean;
}

/**
 * Whether the flags are those of the SDK key, or of the file, that SSM names now. Ask once the claims are settled. A file
 * that is no longer named is dropped later.
 */
export function hasNamedKey({ parameters, claims }: Draft): boolean {
  const file = parameters.get('flags-file');
  if (file?.text !== undefined) return !file.isGone;
  const held = parameters.get('sdk-key');
  return held?.trouble === undefined && claims.some(({ parameter }) => parameter === 'sdk-key');
}

export function draftOf(
  id: string,
  parameters: HeldParameters,
  { graceMs, now }: { graceMs: number; now: number },
): Draft {
  const revoked = parseRevoked(parameters.get('revoked')?.text);
  const problems: string[] = [];
  const problem = (text: string) => void problems.push(text);
  const draft: Draft = { id, parameters, revoked, claims: [], problems, problem, oddities: [] };
  for (const [name, { trouble, text, secure }] of parameters) {
    if (trouble !== undefined && trouble.kind !== 'awaited') problem(trouble.message);
    if (text === undefined) continue;
    const oddity = unlikely(name, text);
    if (oddity !== undefined) draft.oddities.push(`${id}: ${oddity}`);
    if (ssmParameters[name].secret && !secure) draft.oddities.push(storedPlainly(`${id}/${name}`));
  }
  const claim = (kind: CredentialKind, name: SsmParameterName, expiresAt?: number) => {
    const held = parameters.get(name);
    if (held?.text === undefined) return;
    if (revoked.has(held.text)) {
      // An environment needs no previous key.
      if (name !== 'previous-sdk-key') problem(`${id}/${name} was revoked: put another key`);
      return;
    }
    if (expiresAt !== undefined && isOver(expiresAt, now)) return;
    draft.claims.push({
      kind,
      value: held.text,
      ...(expiresAt !== undefined && { expiresAt }),
      environment: id,
      parameter: name,
      modifiedAt: writtenAtOf(held),
      ...(held.trouble?.kind === 'missing'
        ? { standing: 'missing', missingSince: held.trouble.since }
        : { standing: 'present' }),
    });
  };
  claim('sdkKey', 'sdk-key');
  const previous = parameters.get('previous-sdk-key');
  if (previous?.text !== undefined) claim('sdkKey', 'previous-sdk-key', endOfPrevious(draft, previous, graceMs));
  claim('mobileKey', 'mobile-key');
  claim('environmentId', 'client-side-id');
  if (!parameters.has('sdk-key') && !parameters.has('flags-file')) problem(`${id}/sdk-key is missing`);
  return draft;
}

/** Without an expiry, and unless it equals the present key, it gets the grace time, which is the same in every task. */
function endOfPrevious({ id, parameters, problem }: Draft, previous: Held, graceMs: number): number {
  const until = parameters.get('previous-sdk-key-until')?.text;
  const read = until === undefined ? undefined : dateTime(until);
  if (read !== undefined && 'value' in read) return read.value;
  if (previous.text !== parameters.get('sdk-key')?.text) {
    problem(
      `${id}/previous-sdk-key has no previous-sdk-key-until: it expires when the grace time after it was written is over`,
    );
  }
  return writtenAtOf(previous) + graceMs;
}

/** A credential is valid up to and including its expiry. */
export function isOver(expiresAt: number, now: number): boolean {
  return now > expiresAt;
}
