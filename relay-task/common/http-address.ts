import { RelayError } from '../errors.ts';

/** Throws CONFIG_INVALID when `text` is not an http or https address; `name` begins the message. */
export function httpAddress(name: string, text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new RelayError('CONFIG_INVALID', `${name} must be an http or https address, not ${text}`);
}
