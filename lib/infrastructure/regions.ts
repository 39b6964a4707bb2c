/** The regions in which Lambda@Edge runs. AWS: service-linked role for the Lambda replicator. */
export const EDGE_EXECUTION_REGIONS = [
  'us-east-1',
  'us-east-2',
  'us-west-1',
  'us-west-2',
  'ap-south-1',
  'ap-northeast-1',
  'ap-northeast-2',
  'ap-southeast-1',
  'ap-southeast-2',
  'eu-central-1',
  'eu-west-1',
  'eu-west-2',
  'sa-east-1',
] as const;

/** Where a stage's edge functions have log groups with a retention, and alarms; none without an edge. */
export function edgeLogRegions({ homeRegion, replicaRegions, edge }: EdgeRegionsOf): readonly string[] {
  if (!edge) return [];
  if (edge.logRegions === 'all') return EDGE_EXECUTION_REGIONS;
  return [...new Set(edge.logRegions ?? [homeRegion, ...replicaRegions, EDGE_REGION])];
}

interface EdgeRegionsOf {
  readonly homeRegion: string;
  readonly replicaRegions: readonly string[];
  readonly edge?: { readonly logRegions?: readonly string[] | 'all' } | undefined;
}

/** Edge functions, their certificates and their distribution must be in this region. */
export const EDGE_REGION = 'us-east-1';

export const REGION = /^[a-z]{2}(-[a-z]+)+-\d$/;

/** Approximate locations in degrees north and east, precise enough to order a few replicas by distance. */
const PLACES: Readonly<Record<string, readonly [number, number]>> = {
  'us-east-1': [39, -77],
  'us-east-2': [40, -83],
  'us-west-1': [37, -122],
  'us-west-2': [46, -119],
  'ca-central-1': [45, -74],
  'ca-west-1': [51, -114],
  'mx-central-1': [21, -100],
  'sa-east-1': [-23, -46],
  'eu-west-1': [53, -6],
  'eu-west-2': [51, 0],
  'eu-west-3': [49, 2],
  'eu-central-1': [50, 9],
  'eu-central-2': [47, 8],
  'eu-north-1': [59, 18],
  'eu-south-1': [45, 9],
  'eu-south-2': [42, -1],
  'il-central-1': [32, 35],
  'me-south-1': [26, 50],
  'me-central-1': [24, 54],
  'af-south-1': [-34, 18],
  'ap-south-1': [19, 73],
  'ap-south-2': [17, 78],
  'ap-east-1': [22, 114],
  'ap-east-2': [25, 121],
  'ap-southeast-1': [1, 104],
  'ap-southeast-2': [-34, 151],
  'ap-southeast-3': [-6, 107],
  'ap-southeast-4': [-38, 145],
  'ap-southeast-5': [3, 102],
  'ap-southeast-6': [-37, 175],
  'ap-southeast-7': [14, 100],
  'ap-northeast-1': [36, 140],
  'ap-northeast-2': [37, 127],
  'ap-northeast-3': [35, 135],
};

/**
 * For each region in which an edge function may run, the replicas, nearest first; `default` starts with home. Ties and
 * regions with an unknown location keep the given order, home first.
 */
export function nearestReplicas(
  homeRegion: string,
  replicaRegions: readonly string[],
): Record<string, string[]> & { default: string[] } {
  const replicas = [homeRegion, ...replicaRegions];
  const nearest = EDGE_EXECUTION_REGIONS.map((from): [string, string[]] => [
    from,
    [...replicas].sort((a, b) => distance(from, a) - distance(from, b)),
  ]);
  return { ...Object.fromEntries(nearest), default: replicas };
}

/** Great-circle distance as an angle; an unknown location is farther than any other. */
function distance(from: string, to: string): number {
  if (from === to) return 0;
  const [a, b] = [PLACES[from], PLACES[to]];
  if (!a || !b) return Math.PI + 1;
  const [lat1, lon1, lat2, lon2] = [...a, ...b].map((degrees) => (degrees * Math.PI) / 180) as [
    number,
    number,
    number,
    number,
  ];
  const cosine = Math.sin(lat1) * Math.sin(lat2) + Math.cos(lat1) * Math.cos(lat2) * Math.cos(lon1 - lon2);
  return Math.acos(Math.min(1, Math.max(-1, cosine)));
}

/** Regions in which new accounts do not get zones a, b and c. */
const ZONE_LETTERS: Readonly<Record<string, string>> = {
  'ap-northeast-1': 'acd',
  'ca-central-1': 'abd',
  'cn-north-1': 'abd',
  'us-west-1': 'ac',
};

/** Of how many zones of a new VPC functions use the subnets. */
export const FUNCTION_ZONES = 2;

/** Names of a region's availability zones: three wherever a region has three. */
export function defaultZones(region: string): string[] {
  return [...(ZONE_LETTERS[region] ?? 'abc')].map((letter) => region + letter);
}
