import { Aws } from 'aws-cdk-lib';
import { Repository } from 'aws-cdk-lib/aws-ecr';
import { ContainerImage } from 'aws-cdk-lib/aws-ecs';
import type { Construct } from 'constructs';

/** A prebuilt image by its URI. Pulling from a private ECR repository needs a grant. */
export function imageFrom(scope: Construct, uri: string): ContainerImage {
  const [, account, region, repositoryName, tagOrDigest] =
    /^(\d{12})\.dkr\.ecr\.([a-z\d-]+)\.amazonaws\.com(?:\.cn)?\/([^:@]+)[:@](.+)$/.exec(uri) ?? [];
  if (!account || !repositoryName) return ContainerImage.fromRegistry(uri);
  const repositoryArn = `arn:${Aws.PARTITION}:ecr:${region}:${account}:repository/${repositoryName}`;
  const repository = Repository.fromRepositoryAttributes(scope, 'Repository', { repositoryArn, repositoryName });
  return ContainerImage.fromEcrRepository(repository, tagOrDigest);
}
