/** Preview tokens: which flags have which values for a tester, where and until when. Signed with Ed25519 (RFC 8032). */

export interface PreviewSettings {
  /**
   * Links are accepted if they are signed with one of these keys: one, or two while a key is being replaced. As
   * `npm run preview -- new-key` prints them (RFC 8037: 32 bytes in base64url). Anyone who has the private key can make links.
   */
  readonly publicKeys: readonly string[];
  /** The longest time for which a link may be valid: 1 to 720. Default 24. */
  readonly maxHours?: number;
}

/** Compiled into the viewer-request function. */
export interface PreviewConfig extends PreviewSettings {
  /** The only stage whose links are accepted. Default: those for the site's host name, of any stage. */
  readonly stage?: string;
  /** Whether the cookie is sent over https only; its name then begins with `__Host-`. Default true. */
  readonly secure?: boolean;
}

/** The cookie that holds a token. Browsers set one with the prefix over https only (RFC 6265bis). */
export const PREVIEW_COOKIES = ['__Host-flag-preview', 'flag-preview'] as const;

export function previewCookieName(secure = true): string {
  return PREVIEW_COOKIES[secure ? 0 : 1];
}

/** The path of preview links, on any host name of the site. */
export const PREVIEW_PATH = '/__flag-preview';
export const PREVIEW_HOURS = 24;
/** No site may allow longer. */
export const MOST_PREVIEW_HOURS = 720;

/** What a token says. Times are Unix seconds. */
export interface PreviewToken {
  readonly flags: Readonly<Record<string, unknown>>;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly stage: string;
  /** The site's host name, with its port if it has one in the address. */
  readonly host: string;
}

/** A cookie has room for 4,096 characters with its name and attributes, and origins may accept few more in all cookies. */
const MOST_CHARACTERS = 2_048;
const MOST_FLAGS = 8;
const VERSION = 'v1.';

/** What a token of these claims is signed over, and the token for a signature. Throws an Error if it would be too large. */
export function unsignedPreview({ flags, issuedAt, expiresAt, stage, host }: PreviewToken): {
  readonly message: Uint8Array;
  token(signature: Uint8Array): string;
} {
  const count = Object.keys(flags).length;
  if (count === 0 || count > MOST_FLAGS) throw new Error(`a preview has 1 to ${MOST_FLAGS} flags, not ${count}`);
  const claims = base64url(JSON.stringify({ f: flags, i: issuedAt, e: expiresAt, s: stage, h: host }));
  const length = VERSION.length + claims.length + 87;
  if (length > MOST_CHARACTERS)
    throw new Error(`the preview is too large: ${length} characters of at most ${MOST_CHARACTERS}`);
  return { message: signedText(claims), token: (signature) => `${VERSION}${claims}.${base64url(signature)}` };
}

/** Undefined: it is not a token of this format, or `isSigned` says that its signature is wrong. */
export function readPreview(
  token: string,
  isSigned: (message: Uint8Array, signature: Uint8Array) => boolean,
): PreviewToken | undefined {
  if (token.length > MOST_CHARACTERS) return undefined;
  const [, claims = '', signature = ''] = /^v1\.([\w-]+)\.([\w-]{86})$/.exec(token) ?? [];
  if (!claims || !isSigned(signedText(claims), Buffer.from(signature, 'base64url'))) return undefined;
  try {
    const {
      f: flags,
      i: issuedAt,
      e: expiresAt,
      s: stage,
      h: host,
    } = JSON.parse(Buffer.from(claims, 'base64url').toString());
    const whole = Number.isFinite(issuedAt) && Number.isFinite(expiresAt) && typeof host === 'string';
    const valid = whole && typeof flags === 'object' && flags && Object.keys(flags).length <= MOST_FLAGS;
    return valid ? { flags, issuedAt, expiresAt, stage, host } : undefined;
  } catch {
    return undefined;
  }
}

/** Prevents a signature made for another purpose from being valid for a preview. */
function signedText(claims: string): Uint8Array {
  return Buffer.from(`edge-flag-relay preview ${VERSION}${claims}`);
}

function base64url(bytes: string | Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}
