/** Finds the route of a request line. Its cost does not grow with the number of segments and parameters that a client sends. */

export interface Query {
  /** Decoded; of several with one name, the first. */
  get(name: string): string | null;
  /** All parameters, without the question mark. */
  toString(): string;
}

interface Pattern {
  readonly method: string;
  /** Braces match any one non-empty segment, or its part before a suffix: `/sdk/flags/{key}`, `/a/{id}.gif`. */
  readonly path: string;
}

export type Resolution<R> =
  | {
      readonly kind: 'route';
      readonly route: R;
      readonly params: Readonly<Record<string, string>>;
      readonly query: Query;
    }
  /** The path exists, but not with this method. `candidates` are the rows that match it, the most literal first. */
  | {
      readonly kind: 'method';
      readonly allow: readonly string[];
      readonly candidates: readonly R[];
      readonly params: Readonly<Record<string, string>>;
      readonly query: Query;
    }
  | { readonly kind: 'none' }
  /** The path contains `//` or dot segments; `location` is the clean path with the query. */
  | { readonly kind: 'redirect'; readonly location: string }
  | { readonly kind: 'bad'; readonly message: string };

/** Our routes need a few. What has more is refused, or is at no route, before it is taken apart. */
const MAX_PARAMETERS = 100;
const MAX_SLASHES = 32;

/** GET routes also answer HEAD. One trailing slash is ignored. Literal segments win over `{…}`. Never throws. */
export function createRouter<R extends Pattern>(routes: readonly R[]): (method: string, url: string) => Resolution<R> {
  const paths = new Map<string, { segments: readonly string[]; byMethod: Map<string, R> }>();
  for (const route of routes) {
    const known = paths.get(route.path) ?? { segments: route.path.slice(1).split('/'), byMethod: new Map<string, R>() };
    known.byMethod.set(route.method, route);
    paths.set(route.path, known);
  }
  const literals = (segments: readonly string[]) => segments.filter((segment) => !segment.startsWith('{')).length;
  const entries = [...paths.values()].sort((a, b) => literals(b.segments) - literals(a.segments));

  return (method, url) => {
    // The absolute form, as proxies may send it (RFC 9112 3.2.2).
    const target = url.replace(/^https?:\/\/[^/?#]*/i, '') || '/';
    if (!target.startsWith('/')) return { kind: 'bad', message: 'the request target must be a path' };
    const mark = target.search(/[?#]/);
    const path = mark < 0 ? target : target.slice(0, mark);
    const rest = mark < 0 ? '' : target.slice(mark);
    if (countUpTo(MAX_SLASHES, path, '/') > MAX_SLASHES) return { kind: 'none' };
    if (/\/\/|\/\.{1,2}(?:\/|$)/.test(path)) return { kind: 'redirect', location: cleanPath(path) + rest };

    let segments: string[];
    try {
      segments = (path.length > 1 ? path.replace(/\/$/, '') : path).slice(1).split('/').map(decodeURIComponent);
    } catch {
      return {
        kind: 'bad',
        message: `the path contains a "%" that is not part of an encoded UTF-8 character: ${path.slice(0, 200)}`,
      };
    }
    const fragment = rest.indexOf('#');
    const query = createQuery(rest.slice(1, fragment < 0 ? undefined : fragment));
    if (!query) return { kind: 'bad', message: `the query has more than ${MAX_PARAMETERS} parameters` };
    const candidates: R[] = [];
    let paramsOfFirst: Readonly<Record<string, string>> = {};
    for (const { segments: pattern, byMethod } of entries) {
      const params = matchSegments(pattern, segments);
      if (!params) continue;
      const route = byMethod.get(method) ?? (method === 'HEAD' ? byMethod.get('GET') : undefined);
      if (route) return { kind: 'route', route, params, query };
      if (candidates.length === 0) paramsOfFirst = params;
      candidates.push(...byMethod.values());
    }
    if (candidates.length === 0) return { kind: 'none' };
    const allow = [...new Set(candidates.map((row) => row.method))];
    if (allow.includes('GET')) allow.push('HEAD');
    return { kind: 'method', allow, candidates, params: paramsOfFirst, query };
  };
}

/** Nothing is decoded, or kept, but what is asked for. Undefined: it has too many parameters. */
function createQuery(text: string): Query | undefined {
  if (countUpTo(MAX_PARAMETERS, text, '&') >= MAX_PARAMETERS) return undefined;
  return {
    get(name) {
      if (text === '') return null;
      for (const pair of text.split('&')) {
        const [given = ''] = pair.split('=', 1);
        // Each character may be encoded as three.
        const mayBe = given === name || (given.length <= 3 * name.length && given.includes('%'));
        // "&" is skipped; without it, a first "?" would be.
        const value = mayBe ? new URLSearchParams(`&${pair}`).get(name) : null;
        if (value !== null) return value;
      }
      return null;
    },
    toString: () => new URLSearchParams(`&${text}`).toString(),
  };
}

/** How often a character occurs; counting ends above `most`. */
function countUpTo(most: number, text: string, character: string): number {
  let count = 0;
  for (let at = text.indexOf(character); at >= 0 && count <= most; at = text.indexOf(character, at + 1)) count++;
  return count;
}

function matchSegments(pattern: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  if (pattern.length !== segments.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, part] of pattern.entries()) {
    const segment = segments[index] ?? '';
    if (part.startsWith('{')) {
      const [name = '', suffix = ''] = part.slice(1).split('}');
      if (segment.length <= suffix.length || !segment.endsWith(suffix)) return undefined;
      params[name] = segment.slice(0, segment.length - suffix.length);
    } else if (part !== segment) return undefined;
  }
  return params;
}

/** Starts with exactly one slash, so that the result cannot name another host. */
function cleanPath(path: string): string {
  const clean: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') clean.pop();
    else if (segment !== '' && segment !== '.') clean.push(segment);
  }
  return `/${clean.join('/')}${/\/$/.test(path) && clean.length > 0 ? '/' : ''}`;
}
