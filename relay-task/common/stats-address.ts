import type { StatsAddress } from '../ports.ts';

/** As `DATADOG_STATS_ADDR` is written: `host:port`, or `unix:///path`. */
export function statsAddressText(address: StatsAddress): string {
  return 'path' in address ? `unix://${address.path}` : `${address.host}:${address.port}`;
}
