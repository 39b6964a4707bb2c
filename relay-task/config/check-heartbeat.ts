/** Settings of heartbeats that depend on others. */
import type { Findings } from '../common/findings.ts';
import type { Config } from './assemble.ts';

export function checkHeartbeat({ heartbeat, environments, dynamoDB }: Config, findings: Findings): void {
  // Undefined if what was given is invalid, which was reported.
  const { flag, apiToken, project, replicas = [] } = heartbeat;
  const flags = flag !== undefined || environments.some(({ heartbeatFlag }) => heartbeatFlag !== undefined);
  const given = [
    apiToken !== undefined && 'HEARTBEAT_API_TOKEN',
    project !== undefined && 'HEARTBEAT_PROJECT',
    replicas.length > 0 && 'HEARTBEAT_REPLICAS',
  ].filter((name) => name !== false);
  if (!flags && given.length > 0) {
    findings.warning(`${given.join(', ')}: no effect without HEARTBEAT_FLAG or LD_HEARTBEAT_FLAG_<name>`);
  }
  if (flags && replicas.length > 0 && !dynamoDB) {
    findings.problem('HEARTBEAT_REPLICAS: needs the flag table: set USE_DYNAMODB and DYNAMODB_TABLE');
  }
}
