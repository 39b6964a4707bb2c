export interface CacheableAnswer {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** Beside the body: key, headers, bookkeeping. */
const OVERHEAD_BYTES = 1_024;

/**
 * A private cache of answers after RFC 9111, as far as `max-age`, `no-cache`, `no-store`, `Age` and `ETag` go. What was
 * not asked for the longest leaves first.
 */
export function createAnswerCache<T extends CacheableAnswer>(options: { maxBytes: number; now(): number }) {
  const answers = new Map<string, { readonly answer: T; readonly freshUntil: number; readonly bytes: number }>();
  let totalBytes = 0;

  function remove(key: string) {
    totalBytes -= answers.get(key)?.bytes ?? 0;
    answers.delete(key);
  }

  return {
    /** One that is not fresh is to be asked about with its `etag`, or serves while nobody answers. */
    get(key: string): { readonly answer: T; readonly fresh: boolean; readonly etag: string | undefined } | undefined {
      const held = answers.get(key);
      if (!held) return undefined;
      answers.delete(key);
      answers.set(key, held);
      const { answer, freshUntil } = held;
      return { answer, fresh: options.now() < freshUntil, etag: answer.headers.etag };
    },

    set(key: string, answer: T): void {
      remove(key);
      const lifetimeMs = lifetimeOf(answer.headers);
      if (lifetimeMs === undefined) return;
      const bytes = answer.body.length + key.length + OVERHEAD_BYTES;
      answers.set(key, { answer, freshUntil: options.now() + lifetimeMs, bytes });
      totalBytes += bytes;
      for (const oldest of answers.keys()) {
        if (totalBytes <= options.maxBytes) break;
        remove(oldest);
      }
    },
  };
}

/** In ms; undefined when it must not, or need not, be remembered. */
function lifetimeOf(headers: Readonly<Record<string, string>>): number | undefined {
  const directives = (headers['cache-control'] ?? '')
    .toLowerCase()
    .split(',')
    .map((text) => text.trim());
  if (directives.includes('no-store')) return undefined;
  const maxAge = directives
    .map((text) => /^max-age="?(\d+)"?$/.exec(text)?.[1])
    .find((seconds) => seconds !== undefined);
  const freshMs = Math.max(0, Number(maxAge ?? 0) - Number.parseInt(headers.age ?? '0', 10)) * 1_000;
  if (freshMs > 0 && !directives.includes('no-cache')) return freshMs;
  return headers.etag === undefined ? undefined : 0;
}
