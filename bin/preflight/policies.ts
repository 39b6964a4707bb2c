/** Whether the policies of topics and keys let those do their work who cannot ask for themselves. */

interface Statement {
  readonly Effect?: string;
  readonly Principal?: string | Readonly<Record<string, string | readonly string[]>>;
  readonly Action?: string | readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

export interface Wish {
  /** `cloudwatch.amazonaws.com`, or an account's ID: who would do it. */
  readonly principal: string;
  readonly action: string;
  /** Of the stage. Statements for the resources of other accounts are none for it. */
  readonly account: string;
}

/**
 * Whether a policy of a resource allows something: a statement does, and none denies it. Conditions other than on the account count as met,
 * since only the service knows the rest. Throws an Error for what is not a policy.
 */
export function allows(policy: string, wish: Wish): boolean {
  const { Statement = [] } = JSON.parse(policy) as { Statement?: Statement | readonly Statement[] };
  const about = [Statement].flat().filter((one) => names(one, wish));
  return (
    about.some((one) => one.Effect === 'Allow' && isFor(one, wish)) &&
    !about.some((one) => one.Effect === 'Deny' && one.Condition === undefined)
  );
}

function names({ Principal = '', Action = [] }: Statement, { principal, action }: Wish): boolean {
  const who = typeof Principal === 'string' ? [Principal] : Object.values(Principal).flat();
  const isAccount = /^\d{12}$/.test(principal);
  const isNamed = (one: string) =>
    one === '*' || one === principal || (isAccount && new RegExp(`^arn:[\\w-]+:iam::${principal}:root$`).test(one));
  return who.some(isNamed) && listOf(Action).some((pattern) => matches(pattern, action));
}

/**
 * SNS gives a new topic a policy for everybody with its owner as the condition `AWS:SourceOwner`, which CloudWatch meets. SNS Developer Guide:
 * "aws:SourceAccount versus aws:SourceOwner". EventBridge tells neither. EventBridge User Guide: "Amazon SNS permissions".
 */
function isFor({ Condition = {} }: Statement, { account, principal }: Wish): boolean {
  return Object.entries(Condition).every(([operator, keys]) =>
    Object.entries(keys).every(([key, value]) => {
      const [, kind] = /^aws:Source(Owner|Account)$/i.exec(key) ?? [];
      if (kind === undefined) return true;
      if (principal === 'events.amazonaws.com') return /IfExists$/i.test(operator);
      if (/^owner$/i.test(kind) && principal !== 'cloudwatch.amazonaws.com') return false;
      return listOf(value as string | readonly string[]).some((pattern) => matches(pattern, account));
    }),
  );
}

function listOf(value: string | readonly string[]): readonly string[] {
  return typeof value === 'string' ? [value] : value;
}

/** IAM JSON policy reference: `*` stands for any characters, `?` for one, and actions ignore case. */
function matches(pattern: string, text: string): boolean {
  const literal = (part: string) => part.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  const source = pattern.split('*').map((part) => part.split('?').map(literal).join('.'));
  return new RegExp(`^${source.join('.*')}$`, 'i').test(text);
}
