/** What a handler is given: CloudFront's event without its wrapping. */
interface Wrapped<Cf> {
  readonly Records: readonly { readonly cf: Cf }[];
}

/** How often a failure is written to the log. */
const TELL_MS = 60_000;

/**
 * Makes a handler that never rejects, because CloudFront would answer 502. If `work` throws, `instead` is called; if that throws as well,
 * the event is passed on unchanged.
 */
export function passingOn<Cf extends { readonly request: unknown }, Result>(
  work: (cf: Cf) => Result | Promise<Result>,
  instead: (cf: Cf) => Result,
): (event: Wrapped<Cf>) => Promise<Result> {
  let toldAt: number | undefined;

  function tell(error: unknown) {
    const now = Date.now();
    if (toldAt !== undefined && Math.abs(now - toldAt) < TELL_MS) return;
    toldAt = now;
    console.error('edge router: an event could not be handled and is passed on with the defaults:', error);
  }

  return async (event) => {
    try {
      return await work(event.Records[0]!.cf);
    } catch (error) {
      tell(error);
    }
    try {
      const made = instead(event.Records[0]!.cf);
      if (made !== undefined) return made;
    } catch {}
    return sentIn(event) as Result;
  };
}

/** What CloudFront sent; undefined if the event has neither a response nor a request. */
function sentIn(event: unknown): unknown {
  try {
    const { response, request } = Object(Object(event).Records?.[0]?.cf);
    return response ?? request;
  } catch {
    return undefined;
  }
}
