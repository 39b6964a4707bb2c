import { CfnWebACL, CfnWebACLAssociation } from 'aws-cdk-lib/aws-wafv2';
import { Construct } from 'constructs';

export interface RelayWebAclProps {
  readonly stage: string;
  /** @default CloudFormation's */
  readonly name?: string | undefined;
  readonly loadBalancerArn: string;
  readonly requestsPerFiveMinutes: number;
}

/**
 * Contexts and events are JSON of any size with any text: a URL or HTML in an attribute is not an attack, and the relay never
 * renders or fetches it. These rules of AWS's core rule set only count.
 */
const COUNTED = [
  'SizeRestrictions_BODY',
  'SizeRestrictions_QUERYSTRING',
  'SizeRestrictions_URIPATH',
  'SizeRestrictions_Cookie_HEADER',
  'CrossSiteScripting_BODY',
  'GenericLFI_BODY',
  'GenericRFI_BODY',
  'EC2MetaDataSSRF_BODY',
  // Some embedded clients send no User-Agent.
  'NoUserAgent_HEADER',
];

/** Protects a public load balancer: rate limit per address, AWS's IP reputation list, known attacks. */
export class RelayWebAcl extends Construct {
  readonly webAcl: CfnWebACL;

  constructor(
    scope: Construct,
    id: string,
    { stage, name: aclName, loadBalancerArn, requestsPerFiveMinutes }: RelayWebAclProps,
  ) {
    super(scope, id);
    const visible = (metricName: string) => ({
      cloudWatchMetricsEnabled: true,
      sampledRequestsEnabled: true,
      metricName: `edge-flag-relay-${stage}-${metricName}`,
    });
    const managed = (priority: number, name: string, counted: readonly string[] = []): CfnWebACL.RuleProperty => ({
      name,
      priority,
      overrideAction: { none: {} },
      visibilityConfig: visible(name),
      statement: {
        managedRuleGroupStatement: {
          vendorName: 'AWS',
          name: `AWSManagedRules${name}`,
          ...(counted.length > 0 && {
            ruleActionOverrides: counted.map((rule) => ({ name: rule, actionToUse: { count: {} } })),
          }),
        },
      },
    });
    this.webAcl = new CfnWebACL(this, 'Acl', {
      ...(aclName !== undefined && { name: aclName }),
      scope: 'REGIONAL',
      defaultAction: { allow: {} },
      visibilityConfig: visible('all'),
      rules: [
        {
          name: 'Rate',
          priority: 0,
          // 429 instead of 403: SDKs retry after a 429 and give up permanently after a 403.
          action: { block: { customResponse: { responseCode: 429 } } },
          visibilityConfig: visible('Rate'),
          statement: { rateBasedStatement: { limit: requestsPerFiveMinutes, aggregateKeyType: 'IP' } },
        },
        managed(1, 'AmazonIpReputationList'),
        managed(2, 'KnownBadInputsRuleSet'),
        managed(3, 'CommonRuleSet', COUNTED),
      ],
    });
    new CfnWebACLAssociation(this, 'Association', { resourceArn: loadBalancerArn, webAclArn: this.webAcl.attrArn });
  }
}
