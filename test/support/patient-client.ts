/** Clients that send requests to a relay repeatedly, even before it listens, and record every response. */

export interface PatientClient {
  /** Statuses of all responses since it listens; 'cut' for a request without one. */
  readonly answers: readonly (number | 'cut')[];
  /** Descriptions of responses that would stop an SDK for good: 4xx, and 503 without `Retry-After`. */
  readonly fatal: readonly string[];
  /** Ms since the start until the first 200; undefined before. */
  readonly servedAfterMs: number | undefined;
  stop(): Promise<void>;
}

/** Sends each of these requests in turn. */
export function startPatientClient(
  port: number,
  asked: readonly { readonly path: string; readonly key?: string }[],
): PatientClient {
  const started = performance.now();
  const answers: (number | 'cut')[] = [];
  const fatal: string[] = [];
  let servedAfterMs: number | undefined;
  let stopped = false;

  async function ask({ path, key }: (typeof asked)[number]) {
    try {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, {
        headers: { ...(key !== undefined && { Authorization: key }) },
      });
      const text = await response.text();
      const { status } = response;
      answers.push(status);
      if (status === 200) servedAfterMs ??= performance.now() - started;
      if (status >= 400 && status < 500) fatal.push(`${path}: ${status} ${text}`);
      if (status === 503 && !/^\d+$/.test(response.headers.get('retry-after') ?? '')) fatal.push(`${path}: ${text}`);
    } catch {
      if (answers.length > 0 && !stopped) answers.push('cut');
    }
  }
  async function run() {
    while (!stopped) {
      await Promise.all(asked.map(ask));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  const running = run();
  return {
    answers,
    fatal,
    get servedAfterMs() {
      return servedAfterMs;
    },
    async stop() {
      stopped = true;
      await running;
    },
  };
}
