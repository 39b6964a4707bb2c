/** What a reader takes from its process; tests hand in their own. */
export interface Surroundings {
  /** Unix ms. The wall clock, since it goes on while a container is frozen. */
  now(): number;
  /** From 0 to 1. */
  random(): number;
  /** The variables that Lambda reserves: AWS_REGION and the role's credentials. */
  readonly env: Readonly<Record<string, string | undefined>>;
}
