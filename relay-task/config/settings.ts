/**
 * The tables of settings; the type of the configuration is derived from them. Names are ld-relay's if it has the setting.
 * A test compares `docs/configuration.md` with these tables.
 */
import { heartbeatSettings } from './settings-heartbeat.ts';
import { mainSettings } from './settings-main.ts';
import { metricsSettings } from './settings-metrics.ts';
import { otlpSettings } from './settings-otlp.ts';
import { sourceSettings } from './settings-sources.ts';
import { storeSettings } from './settings-stores.ts';

export { type Setting, settingsIn } from './setting.ts';
export { environmentSettings, filterSettings } from './settings-environment.ts';
export { type SettingWithoutEffect, settingsWithoutEffect } from './settings-without-effect.ts';

/** Every setting of the relay as a whole. */
export const settings = {
  ...mainSettings,
  ...sourceSettings,
  ...storeSettings,
  ...metricsSettings,
  ...otlpSettings,
  ...heartbeatSettings,
} as const;

/** Variables of the dynamic linker, which begin with `LD_` too. */
export const linkerVariables =
  /^LD_(LIBRARY_PATH|PRELOAD|RUN_PATH|AUDIT|BIND_NOW|BIND_NOT|DEBUG|DEBUG_OUTPUT|DYNAMIC_WEAK|HWCAP_MASK|ORIGIN_PATH|POINTER_GUARD|PROFILE|PROFILE_OUTPUT|SHOW_AUXV|TRACE_LOADED_OBJECTS|USE_LOAD_BIAS|ASSUME_KERNEL|VERBOSE|WARN)$/;

/** Of Datadog's agent and libraries, which many containers have: `DD_ENV` is not a misspelt `LD_ENV_<name>`. */
export const datadogVariables = /^DD_/;
