/**
 * What a flag is evaluated for, as callers write it. LaunchDarkly's `LDContext` can be given wherever one of these is wanted. A value that is not a
 * valid context, for example from JavaScript, gets the fallback with the reason `USER_NOT_SPECIFIED`.
 */
export type EvaluationContext = SingleContext | MultiContext | LegacyUser;

/** One kind's attributes. */
export interface ContextAttributes {
  /** Not empty. */
  readonly key: string;
  readonly name?: string;
  readonly anonymous?: boolean;
  readonly _meta?: { readonly privateAttributes?: readonly string[] };
  readonly [attribute: string]: unknown;
}

export interface SingleContext extends ContextAttributes {
  /** For example `user`. */
  readonly kind: string;
}

export interface MultiContext {
  readonly kind: 'multi';
  readonly [kind: string]: 'multi' | ContextAttributes;
}

/** LaunchDarkly's form before there were kinds. */
export interface LegacyUser {
  readonly key: string;
  readonly name?: string;
  readonly firstName?: string;
  readonly lastName?: string;
  readonly email?: string;
  readonly avatar?: string;
  readonly ip?: string;
  readonly country?: string;
  readonly anonymous?: boolean;
  readonly custom?: Readonly<Record<string, unknown>>;
  readonly privateAttributeNames?: readonly string[];
}
