import type { HostedZoneSettings, RelaySettings } from './stage-settings.ts';

/** Whether names of this zone get a certificate from us: ACM looks for its validation records in public DNS. */
export function certifies(zone: HostedZoneSettings | undefined): boolean {
  return zone !== undefined && !zone.private;
}

/** Whether the internal load balancer in this region uses TLS. */
export function usesTls(
  { certificates, hostedZone }: Pick<RelaySettings, 'certificates' | 'hostedZone'>,
  region: string,
): boolean {
  return certificates?.[region] !== undefined || certifies(hostedZone);
}

/** Whether a name, or a wildcard such as `*.example.com`, can be a record of the zone. */
export function isInZone(name: string, { name: zone }: HostedZoneSettings): boolean {
  return name === zone || name.endsWith(`.${zone}`);
}
