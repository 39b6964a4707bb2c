import { blockOf, rangeOf } from './address-range.ts';

/** The letters of a region's zones. No region has more than six. */
const LETTERS = 'abcdef';

/** `a` of `eu-west-1a`. */
export function zoneLetter(zone: string): string {
  return zone.slice(-1);
}

export function isZoneOf(region: string, zone: string): boolean {
  return zone.slice(0, -1) === region && LETTERS.includes(zoneLetter(zone));
}

/**
 * A zone's address ranges in a VPC, which depend on the zone's letter alone, so that zones can be added and removed. Inside, where tasks
 * and internal load balancers are, an eighth of the VPC; in public, a thirty-second, which is enough for a load balancer in a VPC of /22 too.
 */
export function zoneSubnets(
  cidr: string,
  zone: string,
): { readonly publicRange: string; readonly insideRange: string } {
  const block = rangeOf(cidr);
  if (!block) throw new Error(`cidr=${JSON.stringify(cidr)} is invalid: expected a CIDR block, such as 10.0.0.0/16`);
  const { first, bits: prefix } = block;
  const at = LETTERS.indexOf(zoneLetter(zone));
  const range = (offset: number, bits: number) => blockOf({ first: first + offset, bits });
  const [eighth, small] = [2 ** (29 - prefix), 2 ** (27 - prefix)];
  return {
    insideRange: range(at * eighth, prefix + 3),
    publicRange: range(LETTERS.length * eighth + at * small, prefix + 5),
  };
}
