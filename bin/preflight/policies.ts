/** Whether the policies of topics and keys let those do their work who cannot ask for themselves. */

type Names = string | readonly string[];
type Principals = string | Readonly<Record<string, Names>>;
type Values = string | boolean | readonly (string | boolean)[];

interface Statement {
  readonly Effect?: string;
  readonly Principal?: Principals;
  readonly NotPrincipal?: Principals;
  readonly Action?: Names;
  readonly NotAction?: Names;
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, Values>>>>;
}

export interface Wish {
  /** `cloudwatch.amazonaws.com`, or an account's ID: who would do it. */
  readonly principal: string;
  readonly action: string;
  /** Of the stage. Statements for the resources of other accounts are none for it. */
  readonly account: string;
}

/**
 * Whether a policy of a resource allows something: a statement does, and none surely denies it. Conditions that only the service can tell
 * count as met where they allow; where they deny, see `refuseDoubts`. Throws an Error for what is not a policy.
 */
export function allows(policy: string, wish: Wish): boolean {
  const about = statementsOf(policy, wish);
  return (
    about.some((one) => one.Effect === 'Allow' && isMet(one, wish) !== false) &&
    !about.some((one) => one.Effect === 'Deny' && isMet(one, wish) === true)
  );
}

/** Why it is not known whether a policy allows something. */
export class Undecided extends Error {
  override readonly name = 'Undecided';
}

/** Throws Undecided where a statement may deny one of the wishes, by conditions that only the service can tell. */
export function refuseDoubts(policy: string, wishes: readonly Wish[]): undefined {
  for (const wish of wishes) {
    const doubtful = statementsOf(policy, wish).find((one) => one.Effect === 'Deny' && isMet(one, wish) === undefined);
    if (doubtful === undefined) continue;
    const keys = Object.values(doubtful.Condition ?? {}).flatMap((one) => Object.keys(one));
    throw new Undecided(
      `its policy denies ${wish.action} to ${wish.principal} by a condition on ${keys.join(' and ')}: see whether it is met`,
    );
  }
}

function statementsOf(policy: string, wish: Wish): Statement[] {
  const { Statement = [] } = JSON.parse(policy) as { Statement?: Statement | readonly Statement[] };
  return [Statement].flat().filter((one) => names(one, wish));
}

function names({ Principal, NotPrincipal, Action, NotAction }: Statement, { principal, action }: Wish): boolean {
  const isAccount = isAccountId(principal);
  const isNamed = (one: string) =>
    one === '*' || one === principal || (isAccount && new RegExp(`^arn:[\\w-]+:iam::${principal}:root$`).test(one));
  const named = (who: Principals) => (typeof who === 'string' ? [who] : Object.values(who).flat()).some(isNamed);
  const covers = (what: Names) => listOf(what).some((pattern) => matches(pattern, action));
  const who = NotPrincipal === undefined ? named(Principal ?? '') : !named(NotPrincipal);
  return who && (NotAction === undefined ? covers(Action ?? []) : !covers(NotAction));
}

/** Whether all conditions of a statement are met; undefined: only the service can tell. */
function isMet({ Condition = {} }: Statement, wish: Wish): boolean | undefined {
  const context = contextOf(wish);
  const each = Object.entries(Condition).flatMap(([operator, keys]) =>
    Object.entries(keys).map(([key, values]) => holds(operator, context.get(key.toLowerCase()), listOf(values))),
  );
  if (each.includes(false)) return false;
  return each.includes(undefined) ? undefined : true;
}

/** What a condition compares with, by the key in lower case; null: the request does not have it. */
function contextOf({ principal, account }: Wish): ReadonlyMap<string, string | null> {
  const isService = !isAccountId(principal);
  // SNS gives a new topic a policy for everybody with its owner as the condition `AWS:SourceOwner`, which CloudWatch meets. SNS Developer
  // Guide: "aws:SourceAccount versus aws:SourceOwner". EventBridge tells neither. EventBridge User Guide: "Amazon SNS permissions".
  // Only services tell an account. IAM User Guide: "AWS global condition context keys".
  const tellsAccount = isService && principal !== 'events.amazonaws.com';
  return new Map([
    ['aws:sourceaccount', tellsAccount ? account : null],
    ['aws:sourceowner', principal === 'cloudwatch.amazonaws.com' ? account : null],
    ['aws:securetransport', 'true'],
    ['aws:principalisawsservice', String(isService)],
  ]);
}

/** IAM User Guide: "IAM JSON policy elements: Condition operators". A key that is not there meets …IfExists, and what is negated. */
function holds(
  operator: string,
  actual: string | null | undefined,
  values: readonly (string | boolean)[],
): boolean | undefined {
  if (actual === undefined) return undefined;
  const texts = values.map(String);
  if (/^Null$/i.test(operator)) return texts.includes(String(actual === null));
  const found = /^(?:Bool|String(Not)?(?:Equals(?:IgnoreCase)?|(Like)))(IfExists)?$/i.exec(operator);
  if (found === null) return undefined;
  const [, not, like, ifExists] = found;
  if (actual === null) return ifExists !== undefined || not !== undefined;
  const isOne = texts.some((one) => (like === undefined ? one === actual : matches(one, actual)));
  return not === undefined ? isOne : !isOne;
}

function isAccountId(principal: string): boolean {
  return /^\d{12}$/.test(principal);
}

function listOf<T extends string | boolean>(value: T | readonly T[]): readonly T[] {
  return typeof value === 'object' ? value : [value];
}

/** IAM JSON policy reference: `*` stands for any characters, `?` for one, and actions ignore case. */
function matches(pattern: string, text: string): boolean {
  const literal = (part: string) => part.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  const source = pattern.split('*').map((part) => part.split('?').map(literal).join('.'));
  return new RegExp(`^${source.join('.*')}$`, 'i').test(text);
}
