/** A member of W3C Baggage among others. Source: W3C, "Propagation format for distributed context: Baggage". */

/** What Node.js, Lambda events or `fetch` have as headers. */
export type IncomingHeaders =
  | { get(name: string): string | null }
  | Readonly<Record<string, string | readonly string[] | undefined>>;

/** "Limits": the least number of bytes that must be passed on. */
export const MOST_BAGGAGE_BYTES = 8_192;

/** A header by its name in lower case; empty if there is none. Never throws. */
export function readHeader(headers: IncomingHeaders | null | undefined, name: string): string {
  try {
    if (typeof headers?.get === 'function') return String(headers.get(name) ?? '');
    for (const [key, value] of Object.entries(headers ?? {})) {
      if (key.toLowerCase() !== name) continue;
      return Array.isArray(value) ? value.join(',') : String(value ?? '');
    }
  } catch {}
  return '';
}

/** The member's value without its properties; undefined if there is none. */
export function readMember(baggage: string, name: string): string | undefined {
  const [found] = members(baggage).filter((member) => nameOf(member) === name);
  return found
    ?.slice(found.indexOf('=') + 1)
    .split(';')[0]
    ?.trim();
}

/** The others as they were, then the member, if it is given. */
export function withMember(baggage: string, name: string, value: string | undefined): string {
  const others = members(baggage).filter((member) => nameOf(member) !== name);
  return [...others, ...(value === undefined ? [] : [`${name}=${value}`])].join(',');
}

function members(baggage: string): string[] {
  // An invalid header value cannot be sent, and must not be able to start a second header.
  return baggage.split(',').flatMap((member) => {
    const text = member.trim();
    return /^[\t -~]+$/.test(text) ? [text] : [];
  });
}

function nameOf(member: string): string {
  return member.split('=')[0]?.trim() ?? '';
}
