/**
 * The one table of settings. Names are ld-relay's where ld-relay has the setting.
 * `docs/configuration.md` is held against these tables by a test.
 */
import { mainSettings } from './settings-main.ts';
import { metricsSettings } from './settings-metrics.ts';
import { sourceSettings } from './settings-sources.ts';
import { storeSettings } from './settings-stores.ts';

export type { Setting } from './setting.ts';
export { environmentSettings, filterSettings } from './settings-environment.ts';
export { settingsWithoutEffect } from './settings-without-effect.ts';

/** Every setting of the relay as a whole. */
export const settings = { ...mainSettings, ...sourceSettings, ...storeSettings, ...metricsSettings } as const;

/** Variables that begin with `LD_` and belong to the dynamic linker, not to us. */
export const linkerVariables =
  /^LD_(LIBRARY_PATH|PRELOAD|RUN_PATH|AUDIT|BIND_NOW|BIND_NOT|DEBUG|DEBUG_OUTPUT|DYNAMIC_WEAK|HWCAP_MASK|ORIGIN_PATH|POINTER_GUARD|PROFILE|PROFILE_OUTPUT|SHOW_AUXV|TRACE_LOADED_OBJECTS|USE_LOAD_BIAS|ASSUME_KERNEL|VERBOSE|WARN)$/;
