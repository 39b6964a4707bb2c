/**
 * The errors that a person has to fix. Each code is documented in `docs/errors.md`.
 */
type RelayErrorCode =
  /** The settings are invalid; the message lists every problem. */
  | 'CONFIG_INVALID'
  /** The relay cannot listen on a port. */
  | 'LISTEN_FAILED'
  /** A flags file is missing or invalid. */
  | 'FLAGS_FILE_INVALID'
  /** A store refused or did not answer. */
  | 'STORE_UNAVAILABLE'
  /** A TLS certificate or its key is unusable. */
  | 'CERTIFICATE_INVALID'
  /** An archive for offline use is missing or invalid. */
  | 'ARCHIVE_INVALID';

export class RelayError extends Error {
  readonly code: RelayErrorCode;
  constructor(code: RelayErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'RelayError';
    this.code = code;
  }
}
