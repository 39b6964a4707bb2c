import type { CloudFrontRequest } from 'aws-lambda';
import type { Added } from './context.ts';
import { valueIn } from './match.ts';
import type { Attributes, ContextSettings, From } from './rules.ts';

/** Longer values do not become attributes, because the cost of a flag's patterns grows with them. */
const MAX_CHARACTERS = 1_024;

/** Returns what the settings find in a request. */
export function createAdded({
  attributes = {},
  contexts = {},
}: ContextSettings): (request: CloudFrontRequest) => Added {
  const others = Object.entries(contexts);
  return (request) => ({
    attributes: found(request, attributes),
    contexts: Object.fromEntries(
      others.flatMap(([kind, { key: from, attributes = {} }]) => {
        const key = shortValue(request, from);
        return key ? [[kind, { ...found(request, attributes), key }]] : [];
      }),
    ),
  });
}

function found(request: CloudFrontRequest, attributes: Attributes): Record<string, string> {
  const values: Record<string, string> = {};
  for (const [name, from] of Object.entries(attributes)) {
    const value = shortValue(request, from);
    if (value !== undefined) values[name] = value;
  }
  return values;
}

function shortValue(request: CloudFrontRequest, from: From): string | undefined {
  const value = valueIn(request, from);
  return value === undefined || value.length > MAX_CHARACTERS ? undefined : value;
}
