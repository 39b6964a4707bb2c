/** The relay's own certificate, replaced when its files are. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { watchFile } from '../common/watch-file.ts';
import { RelayError } from '../errors.ts';
import type { Log } from '../ports.ts';

interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface CertificatePair {
  /** PEM. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

/** Throws RelayError CERTIFICATE_INVALID when a file cannot be read. */
export function readCertificate({ certFile, keyFile }: CertificateFiles): CertificatePair {
  const code = 'CERTIFICATE_INVALID';
  return { cert: readPem(code, 'TLS_CERT', certFile), key: readPem(code, 'TLS_KEY', keyFile) };
}

/** Throws RelayError with this code. */
export function readPem(code: 'CERTIFICATE_INVALID' | 'CONFIG_INVALID', setting: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new RelayError(code, `Cannot read ${setting}=${path}: ${(cause as Error).message}`, { cause });
  }
}

/** Logs a warning when clients will not accept the certificate because of its dates: it is served anyway. */
export function warnOfDates({ cert }: CertificatePair, log: Log, now: number): void {
  const { validFrom, validTo } = new X509Certificate(cert);
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  if (now >= from && now <= to) return;
  const reason = now > to ? `it expired on ${isoOf(to)}` : `it is not valid before ${isoOf(from)}`;
  log.warn('Clients will not accept the TLS certificate; serving it anyway', {
    reason,
    runbook: 'operations.md#tls-certificate',
  });
}

function isoOf(time: number): string {
  return new Date(time).toISOString();
}

/**
 * Hands a pair that differs from `present` to `replace` once its files have stayed the same for `intervalMs`. When
 * `replace` throws, the present pair stays in use and the next change of either file is tried.
 */
export function followCertificate(options: {
  readonly files: CertificateFiles;
  readonly present: CertificatePair;
  readonly log: Log;
  readonly intervalMs: number;
  replace(pair: CertificatePair): void;
}): { close(): Promise<void> } {
  const { files, log, replace, intervalMs } = options;
  let { present } = options;
  let problem: string | undefined;

  async function look(): Promise<boolean> {
    try {
      const pair = readCertificate(files);
      if (pair.cert !== present.cert || pair.key !== present.key) {
        replace(pair);
        present = pair;
        log.info('Replaced the TLS certificate');
        warnOfDates(pair, log, Date.now());
      }
      problem = undefined;
      return true;
    } catch (error) {
      const reason = (error as Error).message;
      if (reason !== problem)
        log.error('Cannot use the new TLS certificate; keeping the present one', {
          reason,
          runbook: 'operations.md#tls-certificate',
        });
      problem = reason;
      return false;
    }
  }

  const watchers = [files.certFile, files.keyFile].map((path) =>
    watchFile({ path, seen: '', pollIntervalMs: intervalMs, settleMs: intervalMs, onChange: look }),
  );
  return {
    async close() {
      await Promise.all(watchers.map((watcher) => watcher.close()));
    },
  };
}
