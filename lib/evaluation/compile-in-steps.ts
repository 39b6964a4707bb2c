/**
 * Compilation of items that are too large for one turn of an event loop: parts of them are compiled as small items of their own and
 * put together. Edge bundles do not contain it: an edge function has nothing else to do meanwhile.
 */
import { type CompiledFlag, compileFlag } from './compile.ts';
import { type CompiledSegment, compileSegment } from './compile-segment.ts';
import { isFields } from './complete.ts';
import { type ClauseData, type FlagData, objects, type SegmentData, type TargetData } from './data.ts';
import { type Dialect, nodeDialect } from './dialect.ts';
import type { Flag, Segment } from './model.ts';
import type { Test } from './operators.ts';
import { countingTargets } from './targets.ts';
import { effortOf } from './work.ts';

/** How many rules, clauses and values in total are compiled at once; that takes a millisecond or two. */
const AT_ONCE = 500;
/** What a rule or a clause takes besides its values, in values. */
const OVERHEAD = 3;

/**
 * What `compileFlag` returns, or a flag with the same answers; yields after every part, and after every regular expression. The caller
 * must not change the data until the end either. `atOnce`: the size of parts, for tests.
 */
export function* compileFlagInSteps(
  data: unknown,
  dialect: Dialect = nodeDialect,
  atOnce = AT_ONCE,
): Generator<void, Flag> {
  const source = data as FlagData;
  if (!isFields(data) || !areLists(source.rules, source.targets, source.contextTargets, source.prerequisites))
    return compileFlag(data, dialect);
  const rest = { ...source, rules: [], targets: [], contextTargets: [], prerequisites: [] };
  const compiled = (part: FlagData) => compileFlag(part, dialect) as CompiledFlag;
  // A malformed flag is on.
  const whole = compiled({ ...rest, on: false });
  if (whole.on) return whole;
  const malformed = () => compiled({ ...rest, rules: false as never });
  const { prerequisites: required, targets: some, contextTargets: more } = source;
  if (!haveObjects(source.rules, required, some, more)) return malformed();
  yield;
  let counting = some ?? [];
  try {
    if (lengthOf(more) > 0) counting = dialect.targets?.(source) ?? countingTargets(source);
  } catch {
    return malformed();
  }
  yield;

  const { key, salt, variations, offVariation } = source;
  const shared = { key, salt, variations };
  const targets: CompiledFlag['targets'][number][] = [];
  for (const part of targetParts(counting, atOnce)) {
    const made = compiled({ ...shared, targets: part });
    if (made.on) return malformed();
    for (const target of made.targets) targets.push(target);
    yield;
  }
  const prerequisites: CompiledFlag['prerequisites'][number][] = [];
  const prerequisiteKeys = new Set<string>();
  for (const part of chunksOf(source.prerequisites ?? [], () => OVERHEAD, atOnce)) {
    const made = compiled({ ...shared, offVariation, prerequisites: part });
    if (made.on) return malformed();
    for (const one of made.prerequisites) prerequisites.push(one);
    for (const one of made.prerequisiteKeys) prerequisiteKeys.add(one);
    yield;
  }
  const ruled = yield* rulesInSteps(source.rules ?? [], dialect, atOnce, (rules, first, own) => {
    const made = compileFlag({ ...shared, rules }, own, first) as CompiledFlag;
    return made.on ? undefined : made;
  });
  if (!ruled) return malformed();
  const flag: CompiledFlag = {
    ...whole,
    on: !!source.on,
    targets,
    prerequisites,
    prerequisiteKeys: [...prerequisiteKeys],
    ...ruled,
  };
  return flag;
}

/** The same for `compileSegment`. */
export function* compileSegmentInSteps(
  data: unknown,
  dialect: Dialect = nodeDialect,
  atOnce = AT_ONCE,
): Generator<void, Segment> {
  const source = data as SegmentData;
  const { included, excluded, includedContexts, excludedContexts } = isFields(data) ? source : {};
  if (!isFields(data) || !areLists(source.rules, included, excluded, includedContexts, excludedContexts))
    return compileSegment(data, dialect);
  const rest = { ...source, rules: [], included: [], excluded: [], includedContexts: [], excludedContexts: [] };
  const compiled = (part: SegmentData) => compileSegment(part, dialect) as CompiledSegment;
  // A malformed segment has no targets.
  const isMalformed = ({ targets }: Partial<CompiledSegment>) => targets === undefined;
  const whole = compiled(rest);
  if (isMalformed(whole)) return whole;
  const malformed = () => compiled({ ...rest, rules: false as never });
  if (!haveObjects(source.rules, includedContexts, excludedContexts)) return malformed();
  yield;

  const { key, salt } = source;
  const targets: CompiledSegment['targets'][number][] = [];
  for (const [keys, contexts] of [
    ['included', 'includedContexts'],
    ['excluded', 'excludedContexts'],
  ] as const) {
    const parts = [
      ...keyParts(source[keys] ?? [], atOnce).map((part) => ({ [keys]: part })),
      ...chunksOf(
        (source[contexts] ?? []).flatMap((target) => piecesOf(target, atOnce)),
        sizeOfTarget,
        atOnce,
      ).map((part) => ({ [contexts]: part })),
    ];
    for (const part of parts) {
      const made = compiled({ key, salt, ...part });
      if (isMalformed(made)) return malformed();
      for (const target of made.targets) if (target.keys.size > 0) targets.push(target);
      yield;
    }
  }
  const ruled = yield* rulesInSteps(source.rules ?? [], dialect, atOnce, (rules, _first, own) => {
    const made = compileSegment({ key, salt, rules }, own) as CompiledSegment;
    return isMalformed(made) ? undefined : made;
  });
  if (!ruled) return malformed();
  const segment: CompiledSegment = { ...whole, targets, ...ruled };
  return segment;
}

interface RuleData {
  readonly clauses?: readonly ClauseData[] | null | undefined;
}

interface Ruled<Rule> {
  readonly rules: readonly Rule[];
  readonly segmentKeys: readonly string[];
}

/** `compile` gets the index of its first rule, and a dialect; it returns undefined if a rule is malformed, and so does this. */
function* rulesInSteps<Data extends RuleData, Rule extends { readonly clauses: readonly unknown[] }>(
  data: readonly Data[],
  dialect: Dialect,
  atOnce: number,
  compile: (rules: readonly Data[], first: number, dialect: Dialect) => Ruled<Rule> | undefined,
): Generator<void, Ruled<Rule> | undefined> {
  const rules: Rule[] = [];
  const segmentKeys = new Set<string>();
  const add = (made: Ruled<Rule> | undefined): readonly Rule[] | undefined => {
    for (const key of made?.segmentKeys ?? []) segmentKeys.add(key);
    return made?.rules;
  };
  for (const part of chunksOf(data, sizeOfRule, atOnce)) {
    const [rule] = part;
    const isLarge = part.length === 1 && lengthOf(rule?.clauses) > 0 && sizeOfRule(rule) > atOnce;
    if (!isLarge || rule === undefined) {
      const made = add(compile(part, rules.length, dialect));
      if (!made) return undefined;
      for (const one of made) rules.push(one);
      yield;
      continue;
    }
    let whole: Rule | undefined;
    const clauses: unknown[] = [];
    for (const some of chunksOf(rule.clauses ?? [], sizeOfClause, atOnce)) {
      const [clause] = some;
      const isLong = some.length === 1 && clause !== undefined && sizeOfClause(clause) > atOnce;
      const test = isLong ? yield* testInSteps(clause, dialect, atOnce) : undefined;
      const made = add(
        test
          ? compile([{ ...rule, clauses: [{ ...clause, values: [] }] }], rules.length, { ...dialect, test: () => test })
          : compile([{ ...rule, clauses: some }], rules.length, dialect),
      );
      if (!made) return undefined;
      whole ??= made[0];
      for (const one of made[0]?.clauses ?? []) clauses.push(one);
      yield;
    }
    if (whole) rules.push({ ...whole, clauses });
  }
  return { rules, segmentKeys: [...segmentKeys] };
}

/** Undefined for a clause that is compiled as a whole. */
function* testInSteps({ op, values }: ClauseData, dialect: Dialect, atOnce: number): Generator<void, Test | undefined> {
  if (typeof op !== 'string' || op === 'segmentMatch' || !Array.isArray(values)) return undefined;
  const tests: Test[] = [];
  const effort = { perValue: 0, perCharacter: 0 };
  const size = op === 'matches' ? 1 : atOnce;
  for (let at = 0; at < values.length; at += size) {
    const test = dialect.test(op, values.slice(at, at + size));
    effort.perValue += test.effort?.perValue ?? 0;
    effort.perCharacter += test.effort?.perCharacter ?? 0;
    tests.push(test);
    yield;
  }
  const hasOwnEffort = tests.some((test) => test.effort);
  return Object.assign((value: unknown) => tests.some((test) => test(value)), {
    effort: hasOwnEffort ? effort : effortOf(op, values.length),
  });
}

/** Each part to be compiled alone. */
function* targetParts(targets: readonly TargetData[], atOnce: number): Generator<readonly TargetData[], void> {
  for (const some of chunksOf(targets, sizeOfTarget, atOnce)) {
    const [target] = some;
    if (target === undefined || some.length > 1) yield some;
    else for (const piece of piecesOf(target, atOnce)) yield [piece];
  }
}

/** A target with many keys, in several with the same result. */
function piecesOf(target: TargetData, atOnce: number): TargetData[] {
  const { values } = (target ?? {}) as TargetData;
  if (!Array.isArray(values) || values.length <= atOnce) return [target];
  return keyParts(values, atOnce).map((part) => ({ ...target, values: part }));
}

function keyParts(keys: readonly string[], atOnce: number): string[][] {
  return chunksOf(keys, () => 1, atOnce);
}

/** One element is never divided, however large it is. */
function chunksOf<T>(list: readonly T[], sizeOf: (one: T) => number, atOnce: number): T[][] {
  const chunks: T[][] = [];
  let chunk: T[] = [];
  let size = 0;
  for (const one of list) {
    const more = sizeOf(one);
    if (chunk.length > 0 && size + more > atOnce) {
      chunks.push(chunk);
      chunk = [];
      size = 0;
    }
    chunk.push(one);
    size += more;
  }
  if (chunk.length > 0) chunks.push(chunk);
  return chunks;
}

// What these look at may have any type.
function sizeOfTarget(target: TargetData): number {
  return OVERHEAD + lengthOf(target?.values);
}

function sizeOfClause(clause: ClauseData): number {
  // Regular expressions are compiled one by one.
  return OVERHEAD + lengthOf(clause?.values) * (clause?.op === 'matches' ? AT_ONCE : 1);
}

function sizeOfRule(rule: RuleData | undefined): number {
  const clauses = rule?.clauses;
  return OVERHEAD + (Array.isArray(clauses) ? clauses.reduce((sum, clause) => sum + sizeOfClause(clause), 0) : 0);
}

function lengthOf(list: unknown): number {
  return Array.isArray(list) ? list.length : 0;
}

/**
 * Whether the members of these lists and the clauses of rules are objects, without which an item is malformed. Parts that are compiled
 * alone may lack one that is not. In one go, as it looks at no values.
 */
function haveObjects(
  rules: readonly RuleData[] | null | undefined,
  ...others: readonly FlagData['targets'][]
): boolean {
  try {
    for (const other of others) objects(other);
    for (const { clauses } of objects(rules)) objects(clauses);
    return true;
  } catch {
    return false;
  }
}

function areLists(...values: readonly unknown[]): boolean {
  return values.every((value) => value === undefined || value === null || Array.isArray(value));
}
