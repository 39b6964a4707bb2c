/** The relay's own certificate, followed when its files are replaced. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { RelayError } from '../errors.ts';
import type { Log } from '../ports.ts';

export interface CertificateFiles {
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
  const read = (setting: string, path: string): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch (cause) {
      const { message } = cause as Error;
      throw new RelayError('CERTIFICATE_INVALID', `${setting}=${path} cannot be read: ${message}`, { cause });
    }
  };
  return { cert: read('TLS_CERT', certFile), key: read('TLS_KEY', keyFile) };
}

/**
 * Looks at the files every `intervalMs` and hands a pair that is new to `replace`, which throws if it cannot be used: the
 * present one then stays. Files that are being replaced one after the other are simply looked at again.
 */
export function followCertificate(options: {
  readonly files: CertificateFiles;
  readonly log: Log;
  readonly intervalMs: number;
  replace(pair: CertificatePair): void;
}): { close(): void } {
  const { files, log, replace } = options;
  const digest = ({ cert, key }: CertificatePair) => createHash('sha256').update(cert).update(key).digest('hex');
  let held: string | undefined;
  let problem: string | undefined;

  const look = () => {
    try {
      const pair = readCertificate(files);
      const found = digest(pair);
      if (held !== undefined && found !== held) {
        replace(pair);
        log.info('the certificate was replaced');
      }
      held = found;
      problem = undefined;
    } catch (error) {
      const { message } = error as Error;
      if (message !== problem)
        log.error('the new certificate cannot be used, the present one stays', { reason: message });
      problem = message;
    }
  };
  look();
  const timer = setInterval(look, options.intervalMs);
  timer.unref();
  return { close: () => clearInterval(timer) };
}
