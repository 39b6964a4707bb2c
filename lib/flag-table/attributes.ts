/**
 * DynamoDB attribute values, as in its JSON protocol and in the AWS SDK. `B` is bytes (AWS SDK) or a base64 string
 * (JSON protocol); the readers here accept both.
 */
export type AttributeValue =
  | { S: string }
  | { N: string }
  | { B: Uint8Array | string }
  | { BOOL: boolean }
  | { SS: string[] }
  | { M: Record<string, AttributeValue> };

/** One item of the table. */
export type Attributes = Record<string, AttributeValue>;

/** A primary key of the flag table. */
export interface Key {
  namespace: string;
  key: string;
}

type Loose = Readonly<Record<string, unknown>> | undefined;

/** The attribute as a string; undefined if it is missing or of another type. */
export function readText(attributes: Attributes, name: string): string | undefined {
  const value = (attributes[name] as Loose)?.S;
  return typeof value === 'string' ? value : undefined;
}

/** The attribute as a finite number; undefined if it is missing, of another type or not a number. */
export function readNumber(attributes: Attributes, name: string): number | undefined {
  const text = (attributes[name] as Loose)?.N;
  if (typeof text !== 'string' || text.trim() === '') return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

/** The attribute as bytes; undefined if it is missing or of another type. Invalid base64 gives wrong bytes, not an error. */
export function readBytes(attributes: Attributes, name: string): Buffer | undefined {
  const value = (attributes[name] as Loose)?.B;
  if (typeof value === 'string') return Buffer.from(value, 'base64');
  return value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : undefined;
}
