import { Duration } from 'aws-cdk-lib';
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

export interface Policies {
  readonly cachePolicy: cloudfront.ICachePolicy;
  /** Absent: nothing but the cache key is sent to origins. */
  readonly originRequestPolicy?: cloudfront.IOriginRequestPolicy;
}

/** CloudFront's policies for what behaviors forward. Equal rules share one policy, since an account has 20 of each kind. */
export class EdgePolicies extends Construct {
  private readonly made = new Map<string, cloudfront.CachePolicy | cloudfront.OriginRequestPolicy>();
  private readonly name: string | undefined;

  /** `name`: of the first policy of each kind; further ones have a number. @default CloudFormation's names */
  constructor(scope: Construct, id: string, { name }: { readonly name?: string | undefined } = {}) {
    super(scope, id);
    this.name = name;
  }

  of({ cache, originRequest }: Forwarding): Policies {
    const originRequestPolicy = this.originRequestPolicy(originRequest);
    return {
      cachePolicy: cache ? this.cachePolicy(cache) : cloudfront.CachePolicy.CACHING_DISABLED,
      ...(originRequestPolicy && { originRequestPolicy }),
    };
  }

  private cachePolicy(rules: CacheRules): cloudfront.ICachePolicy {
    const { headers, cookies, queryStrings, defaultSeconds, maxSeconds, compressed } = rules;
    return this.once(
      'Cache',
      rules,
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

  private originRequestPolicy(rules: OriginRequestRules): cloudfront.IOriginRequestPolicy | undefined {
    const { headers, cookies, queryStrings } = rules;
    if (cookies === 'all' && headers === 'all') return cloudfront.OriginRequestPolicy.ALL_VIEWER;
    if (cookies === 'all' && headers === 'all-but-host')
      return cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER;
    if (headers === 'none' && isNone(cookies) && isNone(queryStrings)) return undefined;
    const { OriginRequestHeaderBehavior: Headers, OriginRequestCookieBehavior: Cookies } = cloudfront;
    return this.once(
      'OriginRequest',
      rules,
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

  /** Names are numbered, so that no policy is replaced when another one changes. */
  private once<T extends cloudfront.CachePolicy | cloudfront.OriginRequestPolicy>(
    kind: 'Cache' | 'OriginRequest',
    rules: CacheRules | OriginRequestRules,
    make: (id: string, name: string) => T,
  ): T {
    const key = `${kind} ${JSON.stringify(rules)}`;
    const number = [...this.made.keys()].filter((one) => one.startsWith(`${kind} `)).length + 1;
    // With an underscore, which the name of a stage cannot have: the first policy of stage `shop-2` is not the second one of `shop`.
    const [idSuffix, nameSuffix] = number === 1 ? ['', ''] : [`-${number}`, `_${number}`];
    const policy = (this.made.get(key) as T | undefined) ?? make(`${kind}${idSuffix}`, `${this.name}${nameSuffix}`);
    this.made.set(key, policy);
    return policy;
  }
}

function isNone(selection: Selection | Except): boolean {
  return selection === 'none' || (!isExcept(selection) && selection.length === 0);
}

function chosen<T>(selection: Selection, behavior: { all(): T; none(): T; allowList(...names: string[]): T }): T {
  if (selection === 'all') return behavior.all();
  return selection === 'none' || selection.length === 0 ? behavior.none() : behavior.allowList(...selection);
}
