/** Collects what is wrong with a configuration, one line each. Nothing in them may be secret. */
export interface Findings {
  /** The relay does not start. */
  problem(text: string): void;
  /** The relay starts; part of the configuration has no effect or could be better. */
  warning(text: string): void;
}

interface CollectedFindings extends Findings {
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: it replaces them
const CONTROL_CHARACTERS = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;

const MOST_CHARACTERS = 2_000;
const LAST_CHARACTERS = 500;

/** One readable line, whatever names and values it quotes. The place is at its beginning, what to do at its end. */
function lineOf(finding: string): string {
  const line = finding.replace(CONTROL_CHARACTERS, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
  if (line.length <= MOST_CHARACTERS) return line;
  return `${line.slice(0, MOST_CHARACTERS - LAST_CHARACTERS - 1)}…${line.slice(-LAST_CHARACTERS)}`;
}

export function createFindings(): CollectedFindings {
  const problems: string[] = [];
  const warnings: string[] = [];
  return {
    problems,
    warnings,
    problem(text) {
      problems.push(lineOf(text));
    },
    warning(text) {
      warnings.push(lineOf(text));
    },
  };
}
