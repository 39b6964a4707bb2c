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
  const [address = '', bits] = cidr.split('/');
  const first = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const prefix = Number(bits);
  const at = LETTERS.indexOf(zoneLetter(zone));
  const range = (offset: number, length: number) => `${dotted(first + offset)}/${length}`;
  const [eighth, small] = [2 ** (29 - prefix), 2 ** (27 - prefix)];
  return {
    insideRange: range(at * eighth, prefix + 3),
    publicRange: range(LETTERS.length * eighth + at * small, prefix + 5),
  };
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}
