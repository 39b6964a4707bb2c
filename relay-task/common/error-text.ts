/**
 * One sentence about an error: its message, or else those of the errors that it consists of, its code or its name. When
 * no address of a host accepts a connection, Node's AggregateError has no message of its own.
 */
export function errorText(error: unknown): string {
  const { message, errors, code, name } = Object(error) as Partial<AggregateError & NodeJS.ErrnoException>;
  const inner = Array.isArray(errors) ? errors.map(errorText).join('; ') : '';
  return message || inner || code || name || String(error);
}
