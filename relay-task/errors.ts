/**
 * What can go wrong in the relay in ways that a person has to mend. Each code stands in `docs/errors.md`.
 */
export type RelayErrorCode =
  /** The settings could not be understood; the message lists every problem. */
  | 'CONFIG_INVALID'
  /** A port could not be listened on. */
  | 'LISTEN_FAILED'
  /** A flags file could not be read or understood. */
  | 'FLAGS_FILE_INVALID'
  /** A store refused or did not answer. */
  | 'STORE_UNAVAILABLE'
  /** A TLS certificate or its key could not be used. */
  | 'CERTIFICATE_INVALID'
  /** An archive for offline use could not be read or understood. */
  | 'ARCHIVE_INVALID';

export class RelayError extends Error {
  readonly code: RelayErrorCode;
  constructor(code: RelayErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'RelayError';
    this.code = code;
  }
}
