/**
 * The shape of flags and segments as ld-relay writes them, in its order of fields. Used by `same` and `describe`, and by the
 * relay, which completes what it serves. Source: ldmodel/model_marshal.go of go-server-sdk-evaluation 3.0. An absent variation
 * index is 0 for LaunchDarkly's Go code, but not for every SDK; a rule or fallthrough without one has a rollout or is malformed.
 */
type Scalar = 'text' | 'flag' | 'number' | 'whole' | 'any';

export type Shape =
  | { readonly is: Scalar }
  | { readonly is: 'list'; readonly of: Shape }
  | { readonly is: 'object'; readonly fields: readonly Field[] };

export interface Field {
  readonly name: string;
  readonly shape: Shape;
  /** The default for an absent field. Undefined: the field is omitted. */
  readonly fallback?: unknown;
  /** A value that is equivalent to absence; the field is then omitted. */
  readonly omit?: unknown;
}

/** Created by one pure call, so that bundlers can drop it when it is unused. */
export const shapes = /* @__PURE__ */ (() => {
  const text: Shape = { is: 'text' };
  const bool: Shape = { is: 'flag' };
  const number: Shape = { is: 'number' };
  const whole: Shape = { is: 'whole' };
  const any: Shape = { is: 'any' };
  const list = (of: Shape): Shape => ({ is: 'list', of });
  const object = (...fields: Field[]): Shape => ({ is: 'object', fields });

  const field = (name: string, shape: Shape, fallback: unknown): Field => ({ name, shape, fallback });
  /** Omitted if absent. */
  const optional = (name: string, shape: Shape, omit?: unknown): Field => ({ name, shape, omit });
  const lists = (name: string, of: Shape): Field => ({ name, shape: list(of), fallback: [] });

  const target = object(optional('contextKind', text, ''), field('variation', whole, 0), lists('values', text));
  const clause = object(
    optional('contextKind', text, ''),
    field('attribute', text, ''),
    field('op', text, ''),
    lists('values', any),
    field('negate', bool, false),
  );
  const weighted = object(field('variation', whole, 0), field('weight', number, 0), optional('untracked', bool, false));
  const rollout = object(
    optional('kind', text, ''),
    optional('contextKind', text, ''),
    lists('variations', weighted),
    optional('seed', whole),
    optional('bucketBy', text, ''),
  );
  const choice = [optional('variation', whole), optional('rollout', rollout)];
  const rule = object(...choice, optional('id', text, ''), lists('clauses', clause), field('trackEvents', bool, false));

  const flag: readonly Field[] = [
    field('key', text, ''),
    field('on', bool, false),
    lists('prerequisites', object(field('key', text, ''), field('variation', whole, 0))),
    lists('targets', target),
    lists('contextTargets', target),
    lists('rules', rule),
    field('fallthrough', object(...choice), {}),
    field('offVariation', whole, null),
    lists('variations', any),
    optional(
      'clientSideAvailability',
      object(field('usingMobileKey', bool, false), field('usingEnvironmentId', bool, false)),
    ),
    field('clientSide', bool, false),
    field('salt', text, ''),
    field('trackEvents', bool, false),
    field('trackEventsFallthrough', bool, false),
    field('debugEventsUntilDate', number, null),
    field('version', whole, 0),
    field('deleted', bool, false),
    optional('migration', object(optional('checkRatio', whole))),
    optional('samplingRatio', whole),
    optional('excludeFromSummaries', bool, false),
  ];

  const members = object(optional('contextKind', text, ''), lists('values', text));

  const segment: readonly Field[] = [
    field('key', text, ''),
    lists('included', text),
    lists('excluded', text),
    lists('includedContexts', members),
    lists('excludedContexts', members),
    field('salt', text, ''),
    lists(
      'rules',
      object(
        field('id', text, ''),
        lists('clauses', clause),
        optional('weight', number),
        optional('bucketBy', text, ''),
        optional('rolloutContextKind', text, ''),
      ),
    ),
    optional('unbounded', bool, false),
    optional('unboundedContextKind', text, ''),
    field('version', whole, 0),
    field('generation', whole, null),
    field('deleted', bool, false),
  ];

  return { flag, segment };
})();
