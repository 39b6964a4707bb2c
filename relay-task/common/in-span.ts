import type { Span, SpanAttributes } from '../ports.ts';

/** Does some work in a span of its own. What the work throws fails the span. */
export async function inSpan<T>(
  parent: Span,
  name: string,
  work: () => T | Promise<T>,
  attributes?: SpanAttributes,
): Promise<T> {
  const span = parent.child(name, attributes);
  try {
    const result = await work();
    span.end();
    return result;
  } catch (error) {
    span.end((error as Error).name);
    throw error;
  }
}
