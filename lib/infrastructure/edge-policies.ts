import { Duration, Names } from 'aws-cdk-lib';
import * as cloudfront from 'aws-cdk-lib/aws-cloudfront';
import { Construct } from 'constructs';
import {
  type CacheRules,
  type Except,
  type Forwarding,
  isExcept,
  type OriginRequestRules,
  type Selection,
} from './edge-forwarding.ts';
import { shortHash } from './short-hash.ts';

export interface Policies {
  readonly cachePolicy: cloudfront.ICachePolicy;
  /** Absent: nothing but the cache key is sent to origins. */
  readonly originRequestPolicy?: cloudfront.IOriginRequestPolicy;
}

/**
 * CloudFront's policies for what behaviors forward. Equal rules share one policy, since an account has 20 of each kind.
 *
 * A policy is named after its rules and never changes: CloudFront applies a changed policy at once to the behaviors that a distribution
 * has, minutes before the distribution itself is updated. A page with a session in its cache key would be cached without it for that time.
 */
export class EdgePolicies extends Construct {
  private readonly made = new Map<string, cloudfront.CachePolicy | cloudfront.OriginRequestPolicy>();
  private readonly prefix: string;

  /** `name`: what the names of policies begin with. @default from the construct's path */
  constructor(scope: Construct, id: string, { name }: { readonly name?: string | undefined } = {}) {
    super(scope, id);
    this.prefix = name ?? Names.uniqueResourceName(this, { maxLength: 100 });
  }

  of(forwarding: Forwarding): Policies {
    return this.policies(forwarding, (kind, rules) => `_${shortHash(`${kind} ${JSON.stringify(rules)}`)}`);
  }

  /**
   * Policies for one behavior, of a distribution that may be elsewhere: they keep their names when its rules change, since CloudFormation
   * could not delete a policy that is in use there.
   */
  lasting(forwarding: Forwarding): Policies {
    return this.policies(forwarding, () => '');
  }

  private policies({ cache, originRequest }: Forwarding, suffixOf: SuffixOf): Policies {
    const originRequestPolicy = this.originRequestPolicy(originRequest, suffixOf);
    return {
      cachePolicy: cache ? this.cachePolicy(cache, suffixOf) : cloudfront.CachePolicy.CACHING_DISABLED,
      ...(originRequestPolicy && { originRequestPolicy }),
    };
  }

  private cachePolicy(rules: CacheRules, suffixOf: SuffixOf): cloudfront.ICachePolicy {
    const { headers, cookies, queryStrings, defaultSeconds, maxSeconds, compressed } = rules;
    return this.once(
      'Cache',
      suffixOf('Cache', rules),
      (id, cachePolicyName) =>
        new cloudfront.CachePolicy(this, id, {
          cachePolicyName,
          comment: `by ${headers.join(', ') || 'URL'}`.slice(0, 128),
          headerBehavior:
            headers.length > 0
              ? cloudfront.CacheHeaderBehavior.allowList(...headers)
              : cloudfront.CacheHeaderBehavior.none(),
          cookieBehavior:
            'except' in cookies
              ? cloudfront.CacheCookieBehavior.denyList(...cookies.except)
              : chosen(cookies, cloudfront.CacheCookieBehavior),
          queryStringBehavior: chosen(queryStrings, cloudfront.CacheQueryStringBehavior),
          // Above 0, CloudFront would also cache what the origin marks as private.
          minTtl: Duration.seconds(0),
          defaultTtl: Duration.seconds(defaultSeconds),
          maxTtl: Duration.seconds(maxSeconds),
          enableAcceptEncodingGzip: compressed,
          enableAcceptEncodingBrotli: compressed,
        }),
    );
  }

  private originRequestPolicy(
    rules: OriginRequestRules,
    suffixOf: SuffixOf,
  ): cloudfront.IOriginRequestPolicy | undefined {
    const { headers, cookies, queryStrings } = rules;
    if (cookies === 'all' && headers === 'all') return cloudfront.OriginRequestPolicy.ALL_VIEWER;
    if (cookies === 'all' && headers === 'all-but-host')
      return cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER;
    if (headers === 'none' && isNone(cookies) && isNone(queryStrings)) return undefined;
    const { OriginRequestHeaderBehavior: Headers, OriginRequestCookieBehavior: Cookies } = cloudfront;
    return this.once(
      'OriginRequest',
      suffixOf('OriginRequest', rules),
      (id, originRequestPolicyName) =>
        new cloudfront.OriginRequestPolicy(this, id, {
          originRequestPolicyName,
          headerBehavior:
            headers === 'all-but-host'
              ? Headers.denyList('host')
              : isExcept(headers)
                ? Headers.denyList(...headers.except)
                : chosen(headers, Headers),
          cookieBehavior: isExcept(cookies) ? Cookies.denyList(...cookies.except) : chosen(cookies, Cookies),
          queryStringBehavior: chosen(queryStrings, cloudfront.OriginRequestQueryStringBehavior),
        }),
    );
  }

  private once<T extends cloudfront.CachePolicy | cloudfront.OriginRequestPolicy>(
    kind: Kind,
    suffix: string,
    make: (id: string, name: string) => T,
  ): T {
    const id = `${kind}${suffix}`;
    // With an underscore, which the name of a stage cannot have.
    const policy = (this.made.get(id) as T | undefined) ?? make(id, `${this.prefix}${suffix}`);
    this.made.set(id, policy);
    return policy;
  }
}

type Kind = 'Cache' | 'OriginRequest';
type SuffixOf = (kind: Kind, rules: CacheRules | OriginRequestRules) => string;

function isNone(selection: Selection | Except): boolean {
  return selection === 'none' || (!isExcept(selection) && selection.length === 0);
}

function chosen<T>(selection: Selection, behavior: { all(): T; none(): T; allowList(...names: string[]): T }): T {
  if (selection === 'all') return behavior.all();
  return selection === 'none' || selection.length === 0 ? behavior.none() : behavior.allowList(...selection);
}
