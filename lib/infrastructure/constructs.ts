/** The constructs for your own CDK apps: `docs/constructs.md` has an example of each. */
export { EdgeFlagFunction, type EdgeFlagFunctionProps } from './edge-flag-function.ts';
export type { EdgeMonitoring, EdgeMonitoringOptions } from './edge-monitoring.ts';
export {
  type EdgeParameter,
  edgeParameterName,
  PublishedRouter,
  type PublishedRouterProps,
} from './edge-parameters.ts';
export { describeEdgeProblems, type EdgeEventType } from './edge-restrictions.ts';
export { EdgeRouter, type EdgeRouterProps, type RouterSettings } from './edge-router.ts';
export type { BehaviorSettings, ExposureSettings, PathBehaviorSettings } from './edge-settings.ts';
export {
  ExposureCollector,
  type ExposureCollectorProps,
  ExposureSender,
  type ExposureSenderProps,
} from './exposures.ts';
export { FlagReaderLayer, type FlagReaderLayerProps, layerParameterName } from './flag-reader-layer.ts';
export { FlagTable, type FlagTableProps, type GrantReadOptions, type IFlagTable } from './flag-table.ts';
export { type AlarmOptions, RelayAlarms, type RelayAlarmsProps } from './observability/alarms.ts';
export { RelayCanary, type RelayCanaryProps } from './observability/canary.ts';
export { RelayDashboard, type RelayDashboardProps } from './observability/dashboard.ts';
export type { IObservedRelay, Observed, ObserveOptions } from './observability/observed.ts';
export type { Thresholds } from './observability/thresholds.ts';
export { nearestReplicas } from './regions.ts';
export { addressParameterName, type LoadBalancerAddress } from './relay-addresses.ts';
export type { GrantKeysOptions, IRelayService } from './relay-base.ts';
export type { EventsSpool } from './relay-events-spool.ts';
export type { ExistingLoadBalancer, RelayLoadBalancer } from './relay-load-balancer.ts';
export { type PublicAccess, RelayService, type RelayServiceProps } from './relay-service.ts';
export type { RelayRedis } from './relay-task-definition.ts';
export type { StageRelayAttributes } from './stage-relay.ts';
