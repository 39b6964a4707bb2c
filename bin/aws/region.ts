/** The region of AWS's variables. An empty variable is none, as AWS's CLI has it. */
export function regionIn({ AWS_REGION, AWS_DEFAULT_REGION }: NodeJS.ProcessEnv): string | undefined {
  return AWS_REGION || AWS_DEFAULT_REGION || undefined;
}
