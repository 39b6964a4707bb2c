import { createHash } from 'node:crypto';

/** Eight hexadecimal digits, for names that change with what they stand for. */
export function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}
