import { createFindings } from '../common/findings.ts';
import { assemble, type Config, type Effective } from './assemble.ts';
import { checkTogether } from './checks.ts';
import { parseConfigFile } from './config-file.ts';
import { gather, type Variables } from './gather.ts';
import { readSetting } from './read-settings.ts';
import { valuesOf } from './setting.ts';
import { settings } from './settings.ts';

export type { Config, EnvironmentConfig } from './assemble.ts';
export { areTablesSeparate, type RedisConfig, storesIn } from './assemble-stores.ts';
export type { Variables } from './gather.ts';

export interface ConfigFile {
  /** As messages name it. */
  readonly path: string;
  readonly text: string;
}

export interface ParsedConfig {
  readonly config: Config;
  /** One line each, without secrets. */
  readonly warnings: readonly string[];
  /** Every setting with its value in force and where it came from. */
  readonly effective: readonly Effective[];
}

/**
 * Reads the configuration: a file in ld-relay's format, if there is one, with environment variables over it.
 * Throws RelayError CONFIG_INVALID, whose message names every problem with its place, its value and how to fix it;
 * its `cause` is the list of them. Messages never contain secrets.
 */
export function parseConfig(variables: Variables, file?: ConfigFile): ParsedConfig {
  const findings = createFindings();
  const parsedFile = file && parseConfigFile(file.text, file.path);
  for (const problem of parsedFile?.problems ?? []) findings.problem(problem);
  const gathered = gather(variables, parsedFile, findings);
  const { config, effective, relay } = assemble(gathered, findings);
  checkTogether(config, gathered, relay, findings);
  findings.throwProblems();
  return { config, warnings: findings.warnings, effective };
}

/** Where the relay can be asked. */
export interface Address {
  readonly port: number;
  readonly listenHost: string | undefined;
  /** Whether it listens with TLS. */
  readonly tls: boolean;
}

/**
 * Only the address, whatever else is wrong in the configuration: a relay that was started with an earlier one lives on. Throws
 * RelayError CONFIG_INVALID if one of these settings is wrong.
 */
export function parseAddress(variables: Variables, file?: ConfigFile): Address {
  const { relay } = gather(variables, file && parseConfigFile(file.text, file.path), createFindings());
  const findings = createFindings();
  const { port, listenHost, tls } = settings;
  const address = valuesOf(
    { port, listenHost, tls: tls.enabled },
    (setting) => readSetting(setting, relay.get(setting) ?? [], findings).value,
  );
  findings.throwProblems();
  return address;
}
