const { createReader } = require('edge-flag-relay/edge-reader');

const reader = createReader({
  tableName: 'flags',
  prefix: 'production',
  replicas: { default: ['us-east-1'] },
  // The test's machine may be slow.
  coldDeadlineMs: 30_000,
  endpoint: process.env.FLAGS_ENDPOINT,
});

exports.handler = async ({ questions }) => {
  const answers = [];
  for (const { flag, context, fallback } of questions) {
    answers.push(await reader.variationDetail(flag, context, fallback));
  }
  return answers;
};
