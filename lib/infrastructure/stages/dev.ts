import type { StageSettings } from '../stage-settings.ts';

/** Small and cheap: one region, no NAT gateway, plain HTTP inside the VPC, and everything is deleted with its stacks. */
export const dev: StageSettings = {
  homeRegion: 'eu-west-1',
  replicaRegions: [],
  tableName: 'edge-flag-relay-dev',
  production: false,
  environments: ['test'],
  edge: {
    prefix: 'test',
    flagKey: 'canary-checkout',
    // Two existing sites, so that the distribution works before you configure yours.
    origins: { stable: { domainName: 'example.com' }, canary: { domainName: 'example.org' } },
    defaultVariant: 'stable',
  },
};
