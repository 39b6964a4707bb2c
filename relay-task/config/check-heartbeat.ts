/** Settings of heartbeats that depend on others. */
import type { Findings } from '../common/findings.ts';
import type { Config } from './assemble.ts';

export function checkHeartbeat(config: Config, findings: Findings): void {
  const { environments, ssm, autoConfig, offline, dynamoDB } = config;
  // Undefined if what was given is invalid, which was reported.
  const { flag, apiToken, project, replicas = [] } = config.heartbeat;
  const given = [
    apiToken !== undefined && 'HEARTBEAT_API_TOKEN',
    project !== undefined && 'HEARTBEAT_PROJECT',
    replicas.length > 0 && 'HEARTBEAT_REPLICAS',
  ].filter((name) => name !== false);
  if (offline) {
    const all = [...(flag === undefined ? [] : ['HEARTBEAT_FLAG']), ...given];
    if (all.length > 0)
      findings.warning(`${all.join(', ')}: no effect with FILE_DATA_SOURCE: flags of an archive are no heartbeats`);
    return;
  }
  // An environment in SSM may have the parameter heartbeat-flag, now or later.
  const flags = flag !== undefined || ssm || environments.some(({ heartbeatFlag }) => heartbeatFlag !== undefined);
  if (!flags && given.length > 0) {
    const own = autoConfig ? '' : ' or LD_HEARTBEAT_FLAG_<name>';
    findings.warning(`${given.join(', ')}: no effect without HEARTBEAT_FLAG${own}`);
  }
  if (apiToken !== undefined && project === undefined && !ssm && !autoConfig) {
    for (const { name, projKey, heartbeatFlag = flag } of environments) {
      if (heartbeatFlag === undefined || projKey !== undefined) continue;
      findings.warning(
        `HEARTBEAT_API_TOKEN: no heartbeats are sent to environment ${name}, since nothing names the project of flag ${heartbeatFlag}: set HEARTBEAT_PROJECT or LD_PROJ_KEY_${name}`,
      );
    }
  }
  if (flags && replicas.length > 0 && !dynamoDB) {
    findings.problem('HEARTBEAT_REPLICAS: needs the flag table: set USE_DYNAMODB and DYNAMODB_TABLE');
  }
}
