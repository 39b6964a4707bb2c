import * as cloudfront from 'aws-cdk-lib/aws-cloudfront';
import { destinationOf, forwardingOf, methodsOf } from './edge-forwarding.ts';
import type { EdgePolicies } from './edge-policies.ts';
import type { BehaviorSettings } from './edge-settings.ts';
import type { EdgeSettings } from './stage-settings.ts';

/** What a behavior needs besides its origin: policies, methods and, if the flag routes it, the functions. */
export function behaviorOf(
  settings: BehaviorSettings,
  edge: EdgeSettings,
  {
    policies,
    edgeLambdas,
  }: { readonly policies: Pick<EdgePolicies, 'of'>; readonly edgeLambdas: cloudfront.EdgeLambda[] },
): cloudfront.AddBehaviorOptions {
  const destination = destinationOf(settings, edge);
  return {
    ...policies.of(forwardingOf(settings, destination)),
    ...(destination.routed && { edgeLambdas }),
    allowedMethods: METHODS[methodsOf(settings, destination)],
    compress: settings.compress ?? true,
    viewerProtocolPolicy: VIEWER_PROTOCOLS[settings.viewerProtocol ?? 'redirect-to-https'],
  };
}

const METHODS = {
  read: cloudfront.AllowedMethods.ALLOW_GET_HEAD,
  'read-and-options': cloudfront.AllowedMethods.ALLOW_GET_HEAD_OPTIONS,
  all: cloudfront.AllowedMethods.ALLOW_ALL,
} as const;

const VIEWER_PROTOCOLS = {
  'redirect-to-https': cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
  'https-only': cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
  'allow-all': cloudfront.ViewerProtocolPolicy.ALLOW_ALL,
} as const;
