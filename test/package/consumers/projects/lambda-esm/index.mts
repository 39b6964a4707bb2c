import { createReader, type Detail, type EvaluationContext, type ReaderConfig } from 'edge-flag-relay/edge-reader';

interface Question {
  readonly flag: string;
  readonly context: EvaluationContext;
  readonly fallback: unknown;
}

const config: ReaderConfig = {
  tableName: 'flags',
  prefix: 'production',
  replicas: { default: ['us-east-1'] },
  // The test's machine may be slow.
  coldDeadlineMs: 30_000,
  ...(process.env.FLAGS_ENDPOINT && { endpoint: process.env.FLAGS_ENDPOINT }),
};
const reader = createReader(config);
// @ts-expect-error A misspelt option must not compile.
export const misspelt: ReaderConfig = { ...config, prefx: 'production' };
await reader.ready();

export const handler = async ({ questions }: { readonly questions: readonly Question[] }): Promise<Detail[]> => {
  const answers: Detail[] = [];
  for (const { flag, context, fallback } of questions) {
    answers.push(await reader.variationDetail(flag, context, fallback));
  }
  return answers;
};
