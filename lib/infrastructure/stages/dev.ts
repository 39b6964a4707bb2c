import type { StageSettings } from '../stage-settings.ts';

/** Small and cheap: one region, no NAT gateway, plain HTTP inside the VPC, and everything goes when its stacks go. */
export const dev: StageSettings = {
  homeRegion: 'eu-west-1',
  replicaRegions: [],
  tableName: 'edge-flag-relay-dev',
  production: false,
  environments: ['test'],
  edge: {
    prefix: 'test',
    flagKey: 'canary-checkout',
    // Two sites that exist, so that the distribution works before yours are known.
    origins: { stable: { domainName: 'example.com' }, canary: { domainName: 'example.org' } },
    defaultVariant: 'stable',
  },
};
