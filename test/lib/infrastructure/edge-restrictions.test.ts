/** Expected values: CloudFront Developer Guide, "Restrictions on Lambda@Edge" and "Quotas on Lambda@Edge". */
import { describeEdgeProblems, type EdgeEventType } from '../../../lib/infrastructure/edge-restrictions.ts';

const fine = { Architectures: ['x86_64'], Runtime: 'nodejs24.x', Timeout: 5, MemorySize: 128 };
const at = (eventType: EdgeEventType = 'viewer-request', region = 'us-east-1') => ({ eventType, region });

test('an edge function that CloudFront accepts has no problems', () => {
  expect(describeEdgeProblems(fine, at())).toEqual([]);
  expect(describeEdgeProblems({ Runtime: 'nodejs22.x' }, at())).toEqual([]);
  expect(describeEdgeProblems({ ...fine, MemorySize: 10_240, Timeout: 30 }, at('origin-request'))).toEqual([]);
  expect(describeEdgeProblems({ ...fine, Environment: {}, Layers: [], EphemeralStorage: { Size: 512 } }, at())).toEqual(
    [],
  );
});

test.each<[object, string]>([
  [{ Layers: ['arn:aws:lambda:us-east-1:1:layer:x:1'] }, 'has layers: bundle their content instead'],
  [{ Environment: { Variables: { A: 'b' } } }, 'has environment variables: bake its configuration in instead'],
  [{ Architectures: ['arm64'] }, 'runs on arm64: only x86_64 is supported'],
  [{ VpcConfig: { SubnetIds: ['subnet-1'] } }, 'is in a VPC'],
  [{ TracingConfig: { Mode: 'Active' } }, 'is traced by X-Ray'],
  [{ DeadLetterConfig: { TargetArn: 'arn' } }, 'has a dead-letter queue'],
  [{ PackageType: 'Image' }, 'is a container image'],
  [{ Code: { ImageUri: 'x' } }, 'is a container image'],
  [{ KmsKeyArn: 'arn' }, 'is encrypted with a customer managed key'],
  [{ Code: { SourceKMSKeyArn: 'arn' } }, 'is encrypted with a customer managed key'],
  [{ EphemeralStorage: { Size: 1024 } }, 'has 1024 MB in /tmp: at most 512'],
  [{ FileSystemConfigs: [{}] }, 'mounts a file system'],
  [{ RuntimeManagementConfig: { UpdateRuntimeOn: 'Manual' } }, 'does not use automatic runtime updates'],
  [{ SnapStart: { ApplyOn: 'PublishedVersions' } }, 'uses SnapStart'],
  [{ Runtime: 'nodejs20.x' }, 'has the runtime nodejs20.x: use nodejs24.x'],
  [{ Runtime: 'java21' }, 'has the runtime java21: use nodejs24.x'],
  [{ Timeout: 31 }, 'has a timeout of 31 s: at most 30'],
  [{ MemorySize: 256 }, 'has 256 MB at viewer-request: at most 128'],
])('an edge function with %j is refused', (wrong, problem) => {
  expect(describeEdgeProblems({ ...fine, ...wrong }, at())).toEqual([problem]);
});

test('an edge function outside us-east-1 is refused', () => {
  expect(describeEdgeProblems(fine, at('origin-request', 'eu-west-1'))).toEqual([
    'is in eu-west-1: edge functions must be created in us-east-1',
  ]);
});
