/** What one well-behaved client got of the changing flag, and when. */
import type { Published } from './site.ts';

interface Counts {
  /** Versions that came again on one stream. */
  repeated: number;
  /** Versions that one stream left out, without a whole set that stood for them. */
  skipped: number;
  /** How often a new stream began with an older version than the client held. */
  backwards: number;
}

/** The times of publication by version, as far as this process knows them. */
export type Times = Map<number, number>;

export class HeldVersions {
  held = 0;
  counts: Counts = { repeated: 0, skipped: 0, backwards: 0 };
  private readonly times: Times;
  private behindMs = 0;
  private gapMs = 0;
  private closedAt: number | undefined = Date.now();

  constructor(times: Times) {
    this.times = times;
  }

  opened(): void {
    this.gapMs = Math.max(this.gapMs, this.openGapMs());
    this.closedAt = undefined;
  }

  closed(): void {
    this.closedAt ??= Date.now();
  }

  get open(): boolean {
    return this.closedAt === undefined;
  }

  /** `whole`: it came in a whole set, at the start of a stream or later. */
  got({ version, at }: Published, whole: boolean): void {
    this.times.set(version, at);
    if (version > this.held) this.behindMs = Math.max(this.behindMs, this.lateMs());
    if (whole) {
      if (version < this.held) this.counts.backwards++;
    } else if (version <= this.held) this.counts.repeated++;
    else if (this.held > 0) this.counts.skipped += version - this.held - 1;
    this.held = version;
  }

  /** Starts counting anew. */
  begin(): void {
    this.counts = { repeated: 0, skipped: 0, backwards: 0 };
    [this.behindMs, this.gapMs] = [0, 0];
    if (this.closedAt !== undefined) this.closedAt = Date.now();
  }

  /** The longest times since `begin`, up to now: behind the newest version, and without a stream. */
  longest(): { behindMs: number; gapMs: number } {
    return { behindMs: Math.max(this.behindMs, this.lateMs()), gapMs: Math.max(this.gapMs, this.openGapMs()) };
  }

  /** How long ago the version was published that would be next. */
  private lateMs(): number {
    const next = this.held > 0 ? this.times.get(this.held + 1) : undefined;
    return next === undefined ? 0 : Date.now() - next;
  }

  private openGapMs(): number {
    return this.closedAt === undefined ? 0 : Date.now() - this.closedAt;
  }
}
