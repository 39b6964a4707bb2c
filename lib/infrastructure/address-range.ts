/** Ranges of IPv4 addresses, as numbers. */
export interface AddressRange {
  readonly first: number;
  readonly last: number;
  readonly bits: number;
}

/** The block in which the address of `10.0.0.0/16` is. Undefined if the text is not an address with a prefix length. */
export function rangeOf(text: string): AddressRange | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
  if (!match) return undefined;
  const [, ...numbers] = match.map(Number);
  const [octets, bits = 0] = [numbers.slice(0, 4), numbers[4]];
  if (octets.some((octet) => octet > 255) || bits > 32) return undefined;
  const size = 2 ** (32 - bits);
  const first = Math.floor(octets.reduce((sum, octet) => sum * 256 + octet, 0) / size) * size;
  return { first, last: first + size - 1, bits };
}

export function blockOf({ first, bits }: Pick<AddressRange, 'first' | 'bits'>): string {
  return `${[24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join('.')}/${bits}`;
}
