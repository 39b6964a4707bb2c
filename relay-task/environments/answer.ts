import type { Detail, Flag, Reason } from '../../lib/evaluation/index.ts';
import { type Kept, Place } from '../common/kept.ts';
import type { EvaluatedFlag, ValueText } from '../ports.ts';
import { valueText } from './large-values.ts';

/** What all answers about one state of a flag share. */
interface Shared {
  readonly key: string;
  readonly version: number;
  /** The members about them. */
  readonly versions: string;
  readonly trackEvents: boolean;
  readonly debugging: string;
  readonly kept: Kept;
}

/** What an answer says about its variation. */
export interface Said {
  readonly isExperiment: boolean;
  readonly withReason: boolean;
  /** Those that the audience may see. */
  readonly prerequisites: readonly string[];
}

/**
 * A value may be long and be the answer of thousands of rules: then an answer refers to it, and its own text is only the rest. That text is
 * made again if the memory for such texts was needed for others.
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
    this.keep(made);
    return made;
  }

  /** False: there is no room for it. */
  keep(text: string, moreBytes = 0): boolean {
    return this.shared.kept.keep(this.place, text, Buffer.byteLength(text) + moreBytes);
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

/** And of its entry in a map. */
const BYTES_OF_ANSWER = 160;
const HEAD = '{"value":';
const SHORT = 128;
/** A short value is a part of the text. */
const isShort = (value: string) => value.length <= SHORT;

/** The answers about one state of a flag. */
export interface Answers {
  /** The answer for a result that the flag was compiled with, the same object for all contexts; undefined until it is made. */
  known(result: Detail, withReason: boolean): EvaluatedFlag | undefined;
  /** `isCompiled`: it is such a result. `onWritten`: called with the number of characters. Throws if the value cannot be written. */
  of(detail: Detail, said: Said, isCompiled: boolean, onWritten: (characters: number) => void): EvaluatedFlag;
  /** As LaunchDarkly answers for a flag whose evaluation failed. */
  failure(withReason: boolean): EvaluatedFlag;
}

const NO_VALUE: ValueText = { json: 'null' };
const EXCEPTION = { variationIndex: null, reason: { kind: 'ERROR', errorKind: 'EXCEPTION' } } as const;
const none: readonly string[] = [];

export function createAnswers({ key, version = 0, trackEvents, debugEventsUntilDate }: Flag, kept: Kept): Answers {
  // Numbers through JSON.stringify, too: one that JSON cannot express would make the answers about all flags invalid.
  const shown = JSON.stringify(version);
  const basics = { key, version, versions: `,"version":${shown},"flagVersion":${shown}`, kept };
  const debugging = debugEventsUntilDate ? `,"debugEventsUntilDate":${JSON.stringify(debugEventsUntilDate)}` : '';
  const shared: Shared = { ...basics, trackEvents, debugging };
  /** By variation. */
  const values = new Map<number, ValueText>();
  /** Without and with the reason. */
  const byResult = [new Map<Detail, Answer>(), new Map<Detail, Answer>()] as const;
  /** Those that say nothing but the variation. */
  const plain = new Map<number | null, Answer>();
  /** Other ones, by their own texts; the value is that of the variation. */
  const byText = new Place<Map<string, Answer>>();

  /** The one answer that says this. */
  function oneOf(answer: Answer, text: string): Answer {
    const known = byText.value?.get(text);
    if (known) return known;
    if (byText.value === undefined) kept.keep(byText, new Map(), 0);
    // Making room may have emptied the place.
    if (answer.keep(text, BYTES_OF_ANSWER)) byText.value?.set(text, answer);
    return answer;
  }

  function writtenValue({ variationIndex, value }: Detail, onWritten: (characters: number) => void): ValueText {
    if (variationIndex === null) return NO_VALUE;
    let text = values.get(variationIndex);
    if (text === undefined) {
      text = { json: valueText(value) };
      values.set(variationIndex, text);
      onWritten(text.json.length);
    }
    return text;
  }

  return {
    known: (result, withReason) => byResult[withReason ? 1 : 0].get(result),
    of(detail, said, isCompiled, onWritten) {
      const { variationIndex } = detail;
      const { withReason, isExperiment } = said;
      const isPlain = isCompiled && !withReason && !isExperiment;
      let answer = isPlain ? plain.get(variationIndex) : undefined;
      if (answer === undefined) {
        answer = new Answer(shared, writtenValue(detail, onWritten), detail, said);
        if (isPlain) plain.set(variationIndex, answer);
      }
      if (isCompiled) {
        byResult[withReason ? 1 : 0].set(detail, answer);
        return answer;
      }
      const text = answer.makeText();
      onWritten(text.length);
      return oneOf(answer, text);
    },
    failure(withReason) {
      const said = { isExperiment: false, withReason, prerequisites: none };
      const answer = new Answer({ ...basics, trackEvents: false, debugging: '' }, NO_VALUE, EXCEPTION, said);
      return oneOf(answer, answer.makeText());
    },
  };
}
