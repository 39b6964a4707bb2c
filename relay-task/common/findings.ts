import { RelayError } from '../errors.ts';
import { escaped } from './escaped.ts';

/** Collects what is wrong with something that is read, one line each. Nothing in them may be secret. */
export interface Problems {
  /** It cannot be used: with a configuration, the relay does not start. */
  problem(text: string): void;
}

export interface Findings extends Problems {
  /** It can be used; a part of it has no effect or could be better. */
  warning(text: string): void;
}

const MOST_CHARACTERS = 2_000;
const LAST_CHARACTERS = 500;

/** One readable line, whatever names and values it quotes. The place is at its beginning, what to do at its end. */
function lineOf(finding: string): string {
  const line = escaped(finding);
  if (line.length <= MOST_CHARACTERS) return line;
  return `${line.slice(0, MOST_CHARACTERS - LAST_CHARACTERS - 1)}…${line.slice(-LAST_CHARACTERS)}`;
}

export function createFindings() {
  const problems: string[] = [];
  const warnings: string[] = [];
  return {
    problems,
    warnings,
    problem(text: string): void {
      problems.push(lineOf(text));
    },
    warning(text: string): void {
      warnings.push(lineOf(text));
    },
    /** Throws CONFIG_INVALID if there is a problem. */
    throwProblems(): void {
      if (problems.length > 0) throw invalidConfig(problems);
    },
  };
}

export function invalidConfig(problems: readonly string[]): RelayError {
  return new RelayError('CONFIG_INVALID', problems.join('; '), { cause: problems });
}
