import type { StageSettings } from '../stage-settings.ts';

/** Replicas on three continents, relays in the home region. Replace the certificate and the origins with yours. */
export const prod: StageSettings = {
  homeRegion: 'eu-west-1',
  replicaRegions: ['us-east-1', 'ap-northeast-1'],
  tableName: 'edge-flag-relay-prod',
  production: true,
  // Set to true after the first deployment, and deploy again.
  protected: false,
  environments: ['production'],
  relay: {
    // AWS's example account: synthesis warns until you replace it.
    certificates: {
      'eu-west-1': 'arn:aws:acm:eu-west-1:111122223333:certificate/00000000-0000-0000-0000-000000000000',
    },
    expectedStreams: 5_000,
  },
  edge: {
    prefix: 'production',
    flagKey: 'canary-checkout',
    origins: { stable: { domainName: 'example.com' }, canary: { domainName: 'example.org' } },
    defaultVariant: 'stable',
  },
};
