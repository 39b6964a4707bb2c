import type { Stage } from '../../lib/infrastructure/stages.ts';
import { awsNameOf, awsStatusOf, isTransient } from '../../relay-task/common/aws-call.ts';
import { bad, type Check, good, note } from '../checks/check.ts';
import { NotAnAnswer } from './ask.ts';
import { explainAwsError } from './explain.ts';
import type { OpenAws } from './open.ts';
import { textAt } from './xml.ts';

export interface SignedIn {
  /** Undefined without credentials that work. */
  readonly account: string | undefined;
  readonly check: Check;
  /** Trying again may help: AWS did not answer, or only for the moment. */
  readonly passing?: boolean;
}

/** Whose the credentials are, and whether that is the stage's account. */
export async function signIn({ aws, credentials }: OpenAws, stage: Stage): Promise<SignedIn> {
  const { homeRegion } = stage;
  try {
    // Rejects with what the SDK says of every place where it looked.
    await credentials();
    const answer = await aws.query('sts', homeRegion, 'GetCallerIdentity');
    const account = textAt(answer, 'GetCallerIdentityResult', 'Account');
    if (account === '') throw new NotAnAnswer(`sts in ${homeRegion}`, 'no account');
    return { account, check: accountCheck(account, stage) };
  } catch (error) {
    const isMissing = awsNameOf(error) === 'CredentialsProviderError';
    const what = isMissing ? 'not signed in to AWS' : 'AWS does not say whose the credentials are';
    return {
      account: undefined,
      passing: !isMissing && (awsStatusOf(error) === 0 || isTransient(error)),
      check: bad('credentials', homeRegion, what, explainAwsError(error, homeRegion, { signingIn: true })),
    };
  }
}

function accountCheck(account: string, stage: Stage): Check {
  if (stage.account === undefined) {
    const what = `the stage names no account; the credentials belong to ${account}`;
    return note(
      'account',
      account,
      what,
      `set account: '${account}' in the stage file, so that no other is deployed to`,
    );
  }
  if (stage.account === account) {
    return good('account', account, `the credentials belong to account ${account}, the stage’s account`);
  }
  return bad(
    'account',
    account,
    `the credentials belong to account ${account}, but the stage’s account is ${stage.account}`,
    `sign in to ${stage.account} (AWS_PROFILE), or correct account in the stage file`,
  );
}
