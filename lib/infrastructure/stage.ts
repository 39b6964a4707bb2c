import type {
  AlarmSettings,
  NetworkSettings,
  PrometheusSettings,
  PublicAccessSettings,
  RelaySettings,
  StageSettings,
} from './stage-settings.ts';

type Filled<T, Optional extends keyof T = never> = Required<Omit<T, Optional>> & Pick<T, Optional>;

export type Network = Filled<NetworkSettings, 'vpc'>;
export type Relay = Filled<
  Omit<RelaySettings, 'publicAccess' | 'prometheus'>,
  | 'image'
  | 'eventsSpool'
  | 'agent'
  | 'hostName'
  | 'hostedZone'
  | 'allowedCidrs'
  | 'expectedStreams'
  | 'reservedCapacityUnits'
  | 'redeploy'
> & {
  readonly publicAccess?: Filled<PublicAccessSettings, 'hostName' | 'hostedZone'>;
  readonly prometheus?: Filled<PrometheusSettings, 'allowedCidrs' | 'namespace'>;
};

/** A stage with its defaults filled in. */
export interface Stage extends Filled<StageSettings, 'account' | 'encryptionKeys' | 'redis' | 'edge'> {
  readonly name: string;
  /** For the home region and each relay region. */
  readonly networks: Readonly<Record<string, Network>>;
  readonly relay: Relay;
  readonly alarms: Filled<AlarmSettings, 'runbooks'>;
}
