/** Collects what is wrong with a configuration, one line each. Nothing in them may be secret. */
export interface Findings {
  /** The relay does not start. */
  problem(text: string): void;
  /** The relay starts; part of the configuration has no effect or could be better. */
  warning(text: string): void;
}

export interface CollectedFindings extends Findings {
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

export function createFindings(): CollectedFindings {
  const problems: string[] = [];
  const warnings: string[] = [];
  return {
    problems,
    warnings,
    problem(text) {
      problems.push(text);
    },
    warning(text) {
      warnings.push(text);
    },
  };
}
