/**
 * Records answers of LaunchDarkly's Go evaluator for machines without Go, one request with its response a line:
 * `tsx test/lib/evaluation/record-go.ts > test/fixtures/evaluation/go.ndjson`, then gzip it.
 */
import { randomFrom } from '../../support/random.ts';
import { PATTERN_TEXTS, randomPatterns } from '../../support/random-patterns.ts';
import { boundaryRequest, randomGoRequest } from './go-differential.ts';
import { startGoEvaluator } from './go-evaluator.ts';

const go = startGoEvaluator();
const requests = [
  JSON.stringify({ patterns: randomPatterns(400, randomFrom('patterns')), texts: PATTERN_TEXTS }),
  boundaryRequest(40, randomFrom('boundaries')),
  ...Array.from({ length: 120 }, (_, index) => randomGoRequest(`recorded:${index}`)),
];
for (const request of requests) console.log(`[${request},${JSON.stringify(await go.ask(request))}]`);
go.close();
