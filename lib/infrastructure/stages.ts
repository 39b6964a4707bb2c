/** One deployment of the app. Regions and names are literals, so that synthesis needs no account and no look-up. */
export interface StageSettings {
  /** The AWS account, twelve digits; absent: the account of whoever deploys. */
  readonly account?: string;
  /** Where the relay writes. */
  readonly homeRegion: string;
  /** Where further replicas of the flag table are kept; never the home region. One may be added or removed per deployment. */
  readonly replicaRegions: readonly string[];
  /** The flag table's name, the same in every region: edge functions carry it as a literal. */
  readonly tableName: string;
  /** Whether the table outlives its stack and refuses deletion. */
  readonly production: boolean;
}

export const stages: Readonly<Record<string, StageSettings>> = {
  dev: { homeRegion: 'eu-west-1', replicaRegions: [], tableName: 'edge-flag-relay-dev', production: false },
  prod: {
    homeRegion: 'eu-west-1',
    replicaRegions: ['us-east-1', 'ap-northeast-1'],
    tableName: 'edge-flag-relay-prod',
    production: true,
  },
};

const REGION = /^[a-z]{2}(-[a-z]+)+-\d$/;

/**
 * The settings of the stage asked for. Throws an Error that lists every problem, each naming the property, its value
 * and what would do.
 */
export function parseStage(name: unknown, known = stages): StageSettings {
  const settings = typeof name === 'string' && Object.hasOwn(known, name) ? known[name] : undefined;
  if (settings === undefined) {
    throw new Error(`stage ${JSON.stringify(name)} is not known: use -c stage=${Object.keys(known).join(' or ')}`);
  }
  const problems: string[] = [];
  const { account, homeRegion, replicaRegions, tableName } = settings;
  if (account !== undefined && !/^\d{12}$/.test(account)) problems.push(`account ${account} must be twelve digits`);
  for (const region of [homeRegion, ...replicaRegions]) {
    if (!REGION.test(region)) problems.push(`region ${region} must look like eu-west-1`);
  }
  if (replicaRegions.includes(homeRegion))
    problems.push(`replicaRegions must not contain the home region ${homeRegion}`);
  if (new Set(replicaRegions).size < replicaRegions.length) problems.push('replicaRegions must name each region once');
  // AWS: DynamoDB table names, 3 to 255 characters of a-z A-Z 0-9 _ - .
  if (!/^[\w.-]{3,255}$/.test(tableName)) problems.push(`tableName ${tableName} must be 3 to 255 of a-z A-Z 0-9 _ - .`);
  if (problems.length > 0) throw new Error(`stage ${name}: ${problems.join('; ')}`);
  return settings;
}
