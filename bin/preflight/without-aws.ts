import type { OpenAws } from '../aws/open.ts';
import type { Check } from '../checks/check.ts';

const REASON = 'AWS was not asked';

class NotAsked extends Error {
  override readonly name = 'NotAsked';
}

/** AWS for checks that run without credentials: each question fails at once, so that what needs AWS is marked as not checked. */
export function withoutAws(open: OpenAws): OpenAws {
  const refuse = () => Promise.reject(new NotAsked(REASON));
  const refuseCommands = () => refuse;
  return {
    ...open,
    credentials: refuse,
    aws: { query: refuse, json: refuse, getJson: refuse, getXml: refuse },
    ssm(region) {
      const client = open.ssm(region);
      client.middlewareStack.add(refuseCommands, { step: 'initialize', priority: 'high' });
      return client;
    },
    dynamoDB(region) {
      const client = open.dynamoDB(region);
      client.middlewareStack.add(refuseCommands, { step: 'initialize', priority: 'high' });
      return client;
    },
  };
}

/** A check that failed for this reason alone: the reason is told once, not with each of them. */
export function withoutReason(check: Check): Check {
  return check.state === 'unknown' && check.advice?.includes(REASON) ? { ...check, advice: undefined } : check;
}
