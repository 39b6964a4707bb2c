interface CacheableAnswer {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** Estimated memory of an entry besides its body and key: headers and bookkeeping. */
const OVERHEAD_BYTES = 1_024;

/**
 * A private HTTP cache (RFC 9111) that supports `max-age`, `no-cache`, `no-store`, `Age` and `ETag`. Evicts the least
 * recently used entry first.
 */
export function createAnswerCache<T extends CacheableAnswer>(options: { maxBytes: number; now(): number }) {
  const answers = new Map<string, { readonly answer: T; readonly freshUntil: number; readonly bytes: number }>();
  let totalBytes = 0;

  function remove(key: string) {
    totalBytes -= answers.get(key)?.bytes ?? 0;
    answers.delete(key);
  }

  return {
    /** An entry that is not fresh must be revalidated with its `etag`; it may be served if that fails. */
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

/** In ms; undefined when the answer should not be cached. */
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
