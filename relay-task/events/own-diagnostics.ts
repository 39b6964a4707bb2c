/**
 * The relay's own diagnostic events, in the form of LaunchDarkly's server SDKs. Sources: go-sdk-events 3.4, `diagnostic_events.go`;
 * go-server-sdk 7.6, `server_side_diagnostics.go`, which ld-relay 8 contains; for `platform`, js-core's Node.js SDK.
 */
import { randomUUID } from 'node:crypto';
import type { StreamAttempt } from '../ports.ts';

/** The names are LaunchDarkly's. */
export interface DiagnosticConfiguration {
  readonly customBaseURI: boolean;
  readonly customStreamURI: boolean;
  readonly customEventsURI: boolean;
  readonly streamingDisabled: boolean;
  /** `memory`, `DynamoDB`, `Redis`, `Consul`; `custom` for several. */
  readonly dataStoreType: string;
  readonly eventsCapacity: number;
  readonly eventsFlushIntervalMillis: number;
  readonly startWaitMillis: number;
  readonly userKeysCapacity: number;
  readonly userKeysFlushIntervalMillis: number;
  readonly connectTimeoutMillis: number;
  readonly socketTimeoutMillis: number;
  readonly reconnectTimeMillis: number;
  readonly usingProxy: boolean;
}

export interface OwnDiagnostics {
  init(): object;
  /** What happened since the last event. */
  periodic(droppedEvents: number): object;
  attempted(attempt: StreamAttempt): void;
}

interface OwnDiagnosticsOptions {
  readonly version: string;
  readonly sdkKey: string;
  readonly configuration: DiagnosticConfiguration;
  readonly intervalMs: number;
  readonly platform: {
    readonly nodeVersion: string;
    readonly os: string;
    readonly arch: string;
    readonly release: string;
  };
  /** Unix ms. */
  readonly now: () => number;
}

/** As SDKs name them. */
const OS_NAMES: Readonly<Record<string, string>> = { darwin: 'MacOS', win32: 'Windows', linux: 'Linux' };
const KEY_SUFFIX = 6;
/** LaunchDarkly's stream is tried again without end, and an event has a limited size. */
const MOST_STREAM_INITS = 1_000;

/** For one environment and one SDK key. */
export function createOwnDiagnostics(options: OwnDiagnosticsOptions): OwnDiagnostics {
  const { now, configuration, platform } = options;
  const id = { diagnosticId: randomUUID(), sdkKeySuffix: options.sdkKey.slice(-KEY_SUFFIX) };
  const creationDate = now();
  let dataSinceDate = creationDate;
  let streamInits: StreamAttempt[] = [];
  return {
    init: () => ({
      kind: 'diagnostic-init',
      id,
      creationDate,
      sdk: { name: 'edge-flag-relay', version: options.version },
      configuration: {
        ...configuration,
        diagnosticRecordingIntervalMillis: options.intervalMs,
        usingRelayDaemon: false,
        allAttributesPrivate: false,
      },
      platform: {
        name: 'Node',
        nodeVersion: platform.nodeVersion,
        osName: OS_NAMES[platform.os] ?? platform.os,
        osArch: platform.arch,
        osVersion: platform.release,
      },
    }),
    periodic(droppedEvents) {
      const at = now();
      const event = {
        kind: 'diagnostic',
        id,
        creationDate: at,
        dataSinceDate,
        droppedEvents,
        // The relay makes no events of its own from evaluations, and neither does ld-relay.
        deduplicatedUsers: 0,
        eventsInLastBatch: 0,
        streamInits,
      };
      dataSinceDate = at;
      streamInits = [];
      return event;
    },
    attempted(attempt) {
      if (streamInits.length < MOST_STREAM_INITS) streamInits.push(attempt);
    },
  };
}
