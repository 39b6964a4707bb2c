import type { CloudFrontRequest, CloudFrontResultResponse } from 'aws-lambda';
import { createAdded } from './added.ts';
import type { ViewerRequestConfig } from './config.ts';
import type { Added } from './context.ts';
import { createSetCookie } from './cookie.ts';
import type { Outcome, ReadyRule } from './engine.ts';
import { addResponseHeader, DEFAULT_COOKIE_NAME, merged } from './headers.ts';
import { readyRules } from './ready-rules.ts';

/** What viewer-request needs for rules and attributes. The bundle of a router without them does not contain it. */
export interface Parts {
  readonly rules: readonly ReadyRule[];
  added(request: CloudFrontRequest): Added;
  /** The answer that a rule made, with the headers of all rules, and with the cookie if an id is to be stored. */
  complete(outcome: Outcome, store: string | undefined): CloudFrontResultResponse | undefined;
}

export function createParts(config: ViewerRequestConfig): Parts {
  const { cookieName = DEFAULT_COOKIE_NAME, viewer: { epoch } = {} } = config;
  const setCookie = createSetCookie({ ...config.cookie, cookieName, ...(epoch !== undefined && { epoch }) });
  return {
    rules: readyRules(config.rules ?? []),
    added: createAdded(config),
    complete({ response, responseHeaders }, store) {
      if (!response) return undefined;
      const headers = { ...response.headers };
      for (const [name, value] of merged(responseHeaders.values())) addResponseHeader(headers, name, value);
      if (store) addResponseHeader(headers, 'set-cookie', setCookie(store));
      return { ...response, headers };
    },
  };
}
