/**
 * What Lambda@Edge does not allow. Neither the CDK nor CloudFormation's validator checks this: CloudFront does, ten minutes
 * into a deployment. Source: CloudFront Developer Guide, "Restrictions on Lambda@Edge", and its quotas.
 */
import { EDGE_REGION } from './regions.ts';

export const EDGE_EVENT_TYPES = ['viewer-request', 'origin-request', 'origin-response', 'viewer-response'] as const;
export type EdgeEventType = (typeof EDGE_EVENT_TYPES)[number];

/** As CloudFormation names them, with tokens resolved. */
export interface EdgeFunctionProperties {
  readonly Architectures?: readonly string[];
  readonly CodeSigningConfigArn?: unknown;
  readonly DeadLetterConfig?: unknown;
  readonly Environment?: { readonly Variables?: Readonly<Record<string, unknown>> };
  readonly EphemeralStorage?: { readonly Size?: number };
  readonly FileSystemConfigs?: readonly unknown[];
  readonly KmsKeyArn?: unknown;
  readonly Code?: { readonly SourceKMSKeyArn?: unknown; readonly ImageUri?: unknown };
  readonly Layers?: readonly unknown[];
  readonly MemorySize?: number;
  readonly PackageType?: string;
  readonly Runtime?: string;
  readonly RuntimeManagementConfig?: { readonly UpdateRuntimeOn?: string };
  readonly SnapStart?: { readonly ApplyOn?: string };
  readonly Timeout?: number;
  readonly TracingConfig?: { readonly Mode?: string };
  readonly VpcConfig?: unknown;
}

/** Describes everything about a function that Lambda@Edge does not allow. */
export function describeEdgeProblems(
  properties: EdgeFunctionProperties,
  { eventType, region }: { readonly eventType: EdgeEventType; readonly region: string },
): string[] {
  const p = properties;
  const viewer = eventType.startsWith('viewer-');
  // AWS's pages disagree: the quotas allow viewer functions more. This is safe under both.
  const mostMemory = viewer ? 128 : 10_240;
  const rules: [broken: boolean, rule: string][] = [
    [region !== EDGE_REGION, `is in ${region}: edge functions must be created in ${EDGE_REGION}`],
    [some(p.Layers), 'has layers: bundle their content instead'],
    [some(Object.keys(p.Environment?.Variables ?? {})), 'has environment variables: bake its configuration in instead'],
    [p.VpcConfig !== undefined, 'is in a VPC'],
    [p.TracingConfig?.Mode === 'Active', 'is traced by X-Ray'],
    [p.DeadLetterConfig !== undefined, 'has a dead-letter queue'],
    [p.PackageType === 'Image' || p.Code?.ImageUri !== undefined, 'is a container image'],
    [p.KmsKeyArn !== undefined || p.Code?.SourceKMSKeyArn !== undefined, 'is encrypted with a customer managed key'],
    [(p.EphemeralStorage?.Size ?? 512) > 512, `has ${p.EphemeralStorage?.Size} MB in /tmp: at most 512`],
    [some(p.FileSystemConfigs), 'mounts a file system'],
    [(p.RuntimeManagementConfig?.UpdateRuntimeOn ?? 'Auto') !== 'Auto', 'does not use automatic runtime updates'],
    [(p.SnapStart?.ApplyOn ?? 'None') !== 'None', 'uses SnapStart'],
    [some(p.Architectures?.filter((one) => one !== 'x86_64')), `runs on ${p.Architectures}: only x86_64 is supported`],
    [!/^nodejs(22|24)\.x$|^python3\.1[1-4]$/.test(p.Runtime ?? ''), `has the runtime ${p.Runtime}: use nodejs24.x`],
    [(p.Timeout ?? 3) > 30, `has a timeout of ${p.Timeout} s: at most 30`],
    [(p.MemorySize ?? 128) > mostMemory, `has ${p.MemorySize} MB at ${eventType}: at most ${mostMemory}`],
  ];
  return rules.filter(([broken]) => broken).map(([, rule]) => rule);
}

function some(list: readonly unknown[] | undefined): boolean {
  return list !== undefined && list.length > 0;
}
