/** The parts of the process that a reader uses; tests replace them. */
export interface Surroundings {
  /** Unix ms. The wall clock, since it keeps running while a container is frozen. */
  now(): number;
  /** From 0 to 1. */
  random(): number;
  /** Lambda's reserved environment variables: AWS_REGION and the role's credentials. */
  readonly env: Readonly<Record<string, string | undefined>>;
}
