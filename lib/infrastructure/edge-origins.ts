import { Duration } from 'aws-cdk-lib';
import * as cloudfront from 'aws-cdk-lib/aws-cloudfront';
import { HttpOrigin, OriginGroup, S3BucketOrigin } from 'aws-cdk-lib/aws-cloudfront-origins';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import type { CustomOrigin, Origin } from '../../lambda/edge-router/config.ts';
import { type BehaviorSettings, FAILOVER_STATUS_CODES } from './edge-settings.ts';
import type { EdgeSettings } from './stage-settings.ts';

type Site = Pick<EdgeSettings, 'origins' | 'otherOrigins' | 'defaultVariant'>;

/** The origins of a distribution. Behaviors that use the same one share it. */
export class EdgeOrigins extends Construct {
  private readonly made = new Map<string, cloudfront.IOrigin>();
  private readonly site: Site;

  constructor(scope: Construct, id: string, site: Site) {
    super(scope, id);
    this.site = site;
  }

  /** The behavior's own origin, or its origin group. For a routed behavior, the function replaces it for each request. */
  of({ origin, fallback }: BehaviorSettings): cloudfront.IOrigin {
    const primary = origin === undefined ? this.routed() : this.other(origin);
    if (!fallback) return primary;
    const { origin: second, statusCodes = FAILOVER_STATUS_CODES.filter((code) => code >= 500) } = fallback;
    return this.once(
      `group ${origin ?? ''} ${second} ${statusCodes}`,
      () =>
        new OriginGroup({
          primaryOrigin: primary,
          fallbackOrigin: this.other(second),
          fallbackStatusCodes: [...statusCodes],
        }),
    );
  }

  /** The default variant's, which CloudFront resolves before the function runs. */
  private routed(): cloudfront.IOrigin {
    const { origins, defaultVariant } = this.site;
    const all = Object.values(origins);
    const origin = origins[defaultVariant]!;
    // Each variant has its own folder, which the function adds.
    if ('bucket' in origin) return this.once('routed', () => this.create('Routed', { ...origin, path: undefined }));
    // "Origin settings": a function cannot set longer times than the behavior's own origin has.
    const longest = (name: 'readTimeoutSeconds' | 'keepaliveTimeoutSeconds') =>
      all.reduce((most, one) => Math.max(most, ('domainName' in one && one[name]) || 0), 0) || undefined;
    const times = {
      readTimeoutSeconds: longest('readTimeoutSeconds'),
      keepaliveTimeoutSeconds: longest('keepaliveTimeoutSeconds'),
    };
    return this.once('routed', () => this.create('Routed', { ...origin, ...times }));
  }

  private other(name: string): cloudfront.IOrigin {
    return this.once(`other ${name}`, () => this.create(`Other-${name}`, this.site.otherOrigins![name]!));
  }

  private once(key: string, make: () => cloudfront.IOrigin): cloudfront.IOrigin {
    const origin = this.made.get(key) ?? make();
    this.made.set(key, origin);
    return origin;
  }

  private create(id: string, origin: Origin | (CustomOrigin & object)): cloudfront.IOrigin {
    if ('bucket' in origin) {
      const { bucket: bucketName, region, path } = origin;
      const bucket = Bucket.fromBucketAttributes(this, id, { bucketName, region });
      return S3BucketOrigin.withOriginAccessControl(bucket, {
        ...(path && { originPath: path }),
        originAccessLevels: [cloudfront.AccessLevel.READ],
      });
    }
    const { domainName, protocol = 'https', port, path, headers } = origin;
    const seconds = (value: number | undefined) => (value === undefined ? undefined : Duration.seconds(value));
    return new HttpOrigin(domainName, {
      protocolPolicy:
        protocol === 'https' ? cloudfront.OriginProtocolPolicy.HTTPS_ONLY : cloudfront.OriginProtocolPolicy.HTTP_ONLY,
      originSslProtocols: [cloudfront.OriginSslPolicy.TLS_V1_2],
      ...(path && { originPath: path }),
      ...(port && (protocol === 'https' ? { httpsPort: port } : { httpPort: port })),
      readTimeout: seconds(origin.readTimeoutSeconds),
      keepaliveTimeout: seconds(origin.keepaliveTimeoutSeconds),
      connectionAttempts: origin.connectionAttempts,
      connectionTimeout: seconds(origin.connectionTimeoutSeconds),
      ...(headers && { customHeaders: { ...headers } }),
    });
  }
}
