/** One thing to look for; `find` resolves with what is wrong with it. */
export interface Needed {
  readonly name: 'secret' | 'encryption-key' | 'topic' | 'image' | 'file-system';
  readonly value: string;
  readonly region: string;
  /** Where the stage file names it, and what it is. */
  readonly what: string;
  /** Words that follow `what`. */
  find(): Promise<string | undefined>;
  /** Why `find` could not tell, if others than AWS were asked. */
  explain?(error: unknown): string;
  /** Instead of what is usual for its kind. */
  readonly advice?: string;
}

export interface NeededOptions {
  /** Of the credentials, which is the stage's. */
  readonly account: string;
  /** Ask nobody but AWS. */
  readonly offline: boolean;
  /** Read secrets whose fields tasks need. */
  readonly fields: boolean;
}
