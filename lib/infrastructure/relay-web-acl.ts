import { CfnWebACL, CfnWebACLAssociation } from 'aws-cdk-lib/aws-wafv2';
import { Construct } from 'constructs';

export interface RelayWebAclProps {
  readonly stage: string;
  readonly loadBalancerArn: string;
  readonly requestsPerFiveMinutes: number;
}

/**
 * Contexts and events are JSON of any size, with any text in it: a URL or some HTML in an attribute is no attack, and the
 * relay never renders or fetches it. These rules of AWS's core set count, and block nothing.
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

/** In front of a public load balancer: how much one address may ask, AWS's list of bad addresses, known attacks. */
export class RelayWebAcl extends Construct {
  readonly webAcl: CfnWebACL;

  constructor(scope: Construct, id: string, { stage, loadBalancerArn, requestsPerFiveMinutes }: RelayWebAclProps) {
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
      name: `edge-flag-relay-${stage}`,
      scope: 'REGIONAL',
      defaultAction: { allow: {} },
      visibilityConfig: visible('all'),
      rules: [
        {
          name: 'Rate',
          priority: 0,
          // 429 and not 403: SDKs come back after the first and give up for good after the second.
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
