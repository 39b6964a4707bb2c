import { awsNameOf, isThrottle } from '../../relay-task/common/aws-call.ts';
import { describeAwsError } from '../keys/store.ts';
import { NotAnAnswer } from './ask.ts';

/** Codes by which the services say that they do not know the credentials. */
const UNKNOWN_CREDENTIALS =
  /^(UnrecognizedClientException|InvalidClientTokenId|AuthFailure|OptInRequired|SubscriptionRequiredException)$/;

/** One sentence: what went wrong and what to do. `signingIn`: nothing has accepted the credentials yet. */
export function explainAwsError(error: unknown, region: string, { signingIn = false } = {}): string {
  const name = awsNameOf(error);
  const text = error instanceof Error ? error.message || name : String(error);
  const said = `AWS says: ${name}: ${text}`;
  if (UNKNOWN_CREDENTIALS.test(name)) {
    const disabled = `${region} is not enabled in the account (aws account enable-region --region-name ${region})`;
    return signingIn
      ? `AWS rejected the credentials as invalid or expired: sign in again. Or ${disabled}. ${said}`
      : `Either ${disabled}, or the credentials have expired meanwhile: sign in again. ${said}`;
  }
  if (/^(RequestTimeTooSkewed|RequestExpired)$/.test(name) || /Signature (expired|not yet current)/.test(text)) {
    return `The clock of this machine (${new Date().toISOString()}) is more than five minutes wrong: set it. ${said}`;
  }
  if (/^(SignatureDoesNotMatch|InvalidSignatureException|IncompleteSignature)$/.test(name)) {
    return `The secret access key does not belong to the access key: correct AWS_SECRET_ACCESS_KEY, or sign in again. ${said}`;
  }
  if (error instanceof NotAnAnswer) return text;
  if (isThrottle(error)) return `AWS was asked too often in this account: try again in a minute. ${said}`;
  // The SDK's clients, for what is no JSON.
  if (error instanceof SyntaxError) {
    return `AWS in ${region} answered with something that is not AWS’s: is a proxy or a login page in between? ${text.split('\n')[0]}`;
  }
  if (/^no answer from/.test(text)) return `Cannot reach AWS in ${region}: ${text}: is HTTPS_PROXY or a VPN needed?`;
  return describeAwsError(error, region);
}
