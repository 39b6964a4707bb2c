/** Relays' event forwarding with a spool, and what an ended one leaves. */
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EnvironmentEventsOptions } from '../../../relay-task/events/environment-events.ts';
import type { EventForwardingOptions } from '../../../relay-task/events/forwarding.ts';
import type { SpoolSettings } from '../../../relay-task/events/spool.ts';
import { CLIENT_KEY, closeLater, ENVIRONMENT_ID, MOBILE_KEY, NEVER_MS, SDK_KEY, startForwarding } from './support.ts';

export const SPOOL_BYTES = 8 * 1024 * 1024;

/** A directory that is deleted after the test. */
export function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'spool-'));
  closeLater(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** What the process with this spool would leave if it were killed now: a copy, which nobody owns. */
export function asKilled(directory: string): string {
  const copy = newDirectory();
  cpSync(directory, copy, { recursive: true });
  for (const path of filesIn(copy)) if (path.endsWith('/owner')) rmSync(path);
  return copy;
}

/** All files in it, however deep. */
export function filesIn(directory: string): string[] {
  if (!existsSync(directory)) return [];
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' });
  return names.map((name) => join(directory, name)).filter((path) => statSync(path).isFile());
}

/** The files with records, in the order in which they were written. */
export const logsIn = (directory: string) =>
  filesIn(directory)
    .filter((path) => /\/v1-[^/]*\/[^/]*\.log$/.test(path))
    .sort();

/** They are valid, too, and their events go out with those of the environment. */
const ofClients = (['sdkKey', 'mobileKey'] as const).map((kind) => ({ kind, credential: CLIENT_KEY }));

/** A relay with environments of these names. Looks often for what others have left. */
export function startSpooling(
  eventsUri: string,
  directory: string,
  {
    names = ['production'],
    spool,
    credentials: own,
    environmentOf,
    ...more
  }: Partial<Omit<EventForwardingOptions, 'spool'>> & {
    readonly names?: readonly string[];
    readonly spool?: Partial<SpoolSettings>;
    readonly credentials?: Partial<Record<'sdkKey' | 'mobileKey' | 'environmentId', string>>;
    readonly environmentOf?: EnvironmentEventsOptions['environmentOf'];
  } = {},
) {
  const isGiven = own !== undefined;
  const credentials = own ?? { sdkKey: SDK_KEY, mobileKey: MOBILE_KEY, environmentId: ENVIRONMENT_ID };
  const given = (Object.keys(credentials) as (keyof typeof credentials)[]).flatMap((kind) => {
    const credential = credentials[kind];
    return credential === undefined ? [] : [{ kind, credential }];
  });
  const started = startForwarding(eventsUri, {
    ...more,
    spool: {
      ...{ directory, maxBytes: SPOOL_BYTES },
      ...spool,
      timings: { beatMs: 10, lateMs: NEVER_MS, ...spool?.timings },
    },
  });
  const open = (name: string) =>
    started.forwarding.environment({
      name,
      senderOf: (kind, credential) => credentials[kind] ?? credential,
      credentials: () => [...given, ...(isGiven ? [] : ofClients)],
      ...(environmentOf && { environmentOf }),
      flag: () => undefined,
    });
  const [intake, ...others] = names.map(open);
  return { ...started, open, intake: intake!, others };
}
