import type { Detail, Flag, Reason } from '../../lib/evaluation/index.ts';
import { type Kept, Place } from '../common/kept.ts';
import type { EvaluatedFlag, ValueText } from '../ports.ts';
import { valueText } from './large-values.ts';

/** What all answers about one state of a flag share. */
interface Shared {
  readonly key: string;
  readonly version: number;
  /** The members that state it. */
  readonly versions: string;
  readonly trackEvents: boolean;
  readonly debugging: string;
  readonly kept: Kept;
}

/** What an answer says about its variation. */
interface Said {
  readonly isExperiment: boolean;
  readonly withReason: boolean;
  /** Those that the audience may see. */
  readonly prerequisites: readonly string[];
}

/**
 * A long value may be the answer of thousands of rules, so an answer only refers to it, and its own text is the rest. That text is made
 * again if its memory was needed for others.
 */
class Answer implements EvaluatedFlag {
  readonly value: ValueText;
  readonly variation: number | null;
  readonly reason: Reason;
  private readonly shared: Shared;
  private readonly said: Said;
  private readonly place = new Place<string>();

  constructor(shared: Shared, value: ValueText, { variationIndex, reason }: Omit<Detail, 'value'>, said: Said) {
    this.shared = shared;
    this.value = value;
    this.variation = variationIndex;
    this.reason = reason;
    this.said = said;
  }

  get key(): string {
    return this.shared.key;
  }

  get version(): number {
    return this.shared.version;
  }

  get json(): string {
    const { json } = this.value;
    return isShort(json) ? this.text : `${HEAD}${json}${this.text}`;
  }

  get rest(): string {
    const { json } = this.value;
    return isShort(json) ? this.text.slice(HEAD.length + json.length) : this.text;
  }

  private get text(): string {
    const { value } = this.place;
    if (value !== undefined) return value;
    const made = this.makeText();
    this.shared.kept.keep(this.place, made, Buffer.byteLength(made));
    return made;
  }

  /** In ld-relay's order, with LaunchDarkly's `flagVersion`. False and empty members are left out. */
  makeText(): string {
    const { versions, trackEvents, debugging } = this.shared;
    const { isExperiment, withReason, prerequisites } = this.said;
    let text = isShort(this.value.json) ? `${HEAD}${this.value.json}` : '';
    text += `,"variation":${JSON.stringify(this.variation)}${versions}`;
    if (trackEvents || isExperiment) text += ',"trackEvents":true';
    if (isExperiment) text += ',"trackReason":true';
    if (withReason || isExperiment) text += `,"reason":${JSON.stringify(this.reason)}`;
    text += debugging;
    if (prerequisites.length > 0) text += `,"prerequisites":${JSON.stringify(prerequisites)}`;
    return `${text}}`;
  }
}

const HEAD = '{"value":';
const SHORT = 128;
/** A short value is a part of the text. */
const isShort = (value: string) => value.length <= SHORT;

const NO_VALUE: ValueText = { json: 'null' };
const EXCEPTION = { variationIndex: null, reason: { kind: 'ERROR', errorKind: 'EXCEPTION' } } as const;
const none: readonly string[] = [];
/** What most answers say besides the variation, once for all of them. */
const PLAIN: Said = { isExperiment: false, withReason: false, prerequisites: none };
const WITH_REASON: Said = { ...PLAIN, withReason: true };

const listKey = (withReason: boolean, prerequisites: readonly string[]) =>
  `${withReason} ${JSON.stringify(prerequisites)}`;

/** The answers about one state of a flag. There are many flags, of which most have one or two: maps are made when they are needed. */
export class Answers {
  private readonly shared: Shared;
  /** By variation. */
  private values: Map<number, ValueText> | undefined = undefined;
  /** By the result that the flag was compiled with, the same object for all contexts: without and with the reason. */
  private plain: Map<Detail, Answer> | undefined = undefined;
  private reasoned: Map<Detail, Answer> | undefined = undefined;
  /** Of those without the reason, the ones that say nothing but the variation. */
  private byVariation: Map<number | null, Answer> | undefined = undefined;
  /** Of those that name prerequisites: by such a result, then by the reason's presence and the names. */
  private listed: Map<Detail, Map<string, Answer>> | undefined = undefined;
  /**
   * Other ones, by their own texts; the value is that of the variation. Never forgotten, though as many as the flag can have: what holds an
   * answer would keep it beside an equal one that is made later.
   */
  private byText: Map<string, Answer> | undefined = undefined;

  constructor({ key, version = 0, trackEvents, debugEventsUntilDate }: Flag, kept: Kept) {
    // Numbers through JSON.stringify, too: one that JSON cannot express would make the answers about all flags invalid.
    const shown = JSON.stringify(version);
    const versions = `,"version":${shown},"flagVersion":${shown}`;
    const debugging = debugEventsUntilDate ? `,"debugEventsUntilDate":${JSON.stringify(debugEventsUntilDate)}` : '';
    this.shared = { key, version, versions, trackEvents, debugging, kept };
  }

  /** The answer for a result that the flag was compiled with; undefined until it is made. */
  known(result: Detail, withReason: boolean, prerequisites: readonly string[]): EvaluatedFlag | undefined {
    if (prerequisites.length > 0) return this.listed?.get(result)?.get(listKey(withReason, prerequisites));
    return (withReason ? this.reasoned : this.plain)?.get(result);
  }

  /** `isCompiled`: it is such a result. `onWritten`: called with the number of characters. Throws if the value cannot be written. */
  of(detail: Detail, said: Said, isCompiled: boolean, onWritten: (characters: number) => void): EvaluatedFlag {
    if (isCompiled) return this.ofResult(detail, said, onWritten);
    const answer = new Answer(this.shared, this.valueOf(detail, onWritten), detail, said);
    const text = answer.makeText();
    onWritten(text.length);
    return this.oneOf(answer, text);
  }

  /** As LaunchDarkly answers for a flag whose evaluation failed. */
  failure(withReason: boolean): EvaluatedFlag {
    const shared = { ...this.shared, trackEvents: false, debugging: '' };
    const answer = new Answer(shared, NO_VALUE, EXCEPTION, withReason ? WITH_REASON : PLAIN);
    return this.oneOf(answer, answer.makeText());
  }

  private ofResult(result: Detail, said: Said, onWritten: (characters: number) => void): Answer {
    const { isExperiment, withReason } = said;
    const make = (short: Said) => new Answer(this.shared, this.valueOf(result, onWritten), result, short);
    if (said.prerequisites.length > 0) {
      this.listed ??= new Map();
      const lists = this.listed.get(result) ?? new Map<string, Answer>();
      this.listed.set(result, lists);
      const made = make(said);
      // Without reasons, several results may say the same.
      const answer = withReason || isExperiment ? made : this.oneOf(made, made.makeText());
      lists.set(listKey(withReason, said.prerequisites), answer);
      return answer;
    }
    if (withReason) {
      this.reasoned ??= new Map();
      const answer = make(isExperiment ? said : WITH_REASON);
      this.reasoned.set(result, answer);
      return answer;
    }
    this.plain ??= new Map();
    this.byVariation ??= new Map();
    const answer = isExperiment ? make(said) : (this.byVariation.get(result.variationIndex) ?? make(PLAIN));
    if (!isExperiment) this.byVariation.set(result.variationIndex, answer);
    this.plain.set(result, answer);
    return answer;
  }

  /** Of equal answers, the first. */
  private oneOf(answer: Answer, text: string): Answer {
    this.byText ??= new Map();
    const known = this.byText.get(text);
    if (known) return known;
    this.byText.set(text, answer);
    return answer;
  }

  private valueOf({ variationIndex, value }: Detail, onWritten: (characters: number) => void): ValueText {
    if (variationIndex === null) return NO_VALUE;
    this.values ??= new Map();
    let text = this.values.get(variationIndex);
    if (text === undefined) {
      text = { json: valueText(value) };
      this.values.set(variationIndex, text);
      onWritten(text.json.length);
    }
    return text;
  }
}
