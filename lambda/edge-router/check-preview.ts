/** Checks `preview` and `shadow` of the router's configuration at build. */
import { createPublicKey } from 'node:crypto';
import { type ConfigProblem, isIntegerIn, isObject, problem, unknownProblems } from './check-values.ts';
import { describeShadowHeaderProblem, isHeaderValue } from './header-rules.ts';
import { DEFAULT_VARIANT_HEADER } from './headers.ts';
import { MOST_PREVIEW_HOURS } from './preview-token.ts';

/** Every problem of `preview`; none if it is absent. */
export function previewProblems(preview: unknown): ConfigProblem[] {
  if (preview === undefined) return [];
  const known = ['publicKeys', 'maxHours', 'stage', 'secure'];
  if (!isObject(preview)) return [problem('preview', preview, 'expected { publicKeys: [...] }')];
  const { publicKeys, maxHours = 1, stage = '', secure = true } = preview;
  const problems = unknownProblems('preview', preview, known);
  if (!Array.isArray(publicKeys) || publicKeys.length < 1 || publicKeys.length > 2)
    problems.push(problem('preview.publicKeys', publicKeys, 'expected a list of one or two public keys'));
  else
    for (const [index, key] of publicKeys.entries())
      if (!isPublicKey(key))
        problems.push(
          problem(
            `preview.publicKeys[${index}]`,
            // Someone may have put the private key here, in PEM.
            typeof key === 'string' && key.length <= 64 ? key : '…',
            'expected a public key of 43 characters, as `npm run preview -- new-key` prints it',
          ),
        );
  if (!isIntegerIn(maxHours, 1, MOST_PREVIEW_HOURS))
    problems.push(problem('preview.maxHours', maxHours, `expected an integer from 1 to ${MOST_PREVIEW_HOURS} (h)`));
  if (typeof stage !== 'string') problems.push(problem('preview.stage', stage, 'expected the name of a stage'));
  if (typeof secure !== 'boolean') problems.push(problem('preview.secure', secure, 'expected true or false'));
  return problems;
}

function isPublicKey(x: unknown): boolean {
  if (typeof x !== 'string' || !/^[\w-]{43}$/.test(x)) return false;
  try {
    createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    return true;
  } catch {
    return false;
  }
}

/** What else of a router's configuration names headers. It may be of any form. */
interface Naming {
  readonly shadow?: unknown;
  readonly variantHeader?: unknown;
  readonly origins?: unknown;
  readonly rules?: unknown;
  readonly viewer?: unknown;
  readonly attributes?: unknown;
  readonly contexts?: unknown;
}

/** Every problem of `shadow`; none if it is absent. */
export function shadowProblems(config: Naming): ConfigProblem[] {
  const { shadow } = config;
  if (shadow === undefined) return [];
  if (!isObject(shadow)) return [problem('shadow', shadow, 'expected { header, value }')];
  const problems = unknownProblems('shadow', shadow, ['header', 'value']);
  const { header, value } = shadow;
  const wrong = describeShadowHeaderProblem(header) ?? describeUse(header, config);
  if (wrong) problems.push(problem('shadow.header', header, wrong));
  // The value is not repeated, since it is meant to be secret.
  if (!isHeaderValue(value) || (value as string).length < 16)
    problems.push({
      at: 'shadow.value',
      message:
        'shadow.value is invalid: expected a secret of at least 16 visible ASCII characters, or every viewer could have requests marked',
    });
  return problems;
}

/** What else uses the header of shadow traffic, which is in no request that the router looks at. */
function describeUse(
  header: unknown,
  { variantHeader = DEFAULT_VARIANT_HEADER, origins, rules, viewer, attributes, contexts }: Naming,
): string | undefined {
  if (header === variantHeader) return 'expected another name (this one holds the variant)';
  const sets = ({ headers, requestHeaders }: Readonly<Record<string, unknown>>) =>
    Object.keys(Object({ ...Object(headers), ...Object(requestHeaders) })).includes(header as string);
  if (objectsIn([origins, rules]).some(sets))
    return 'expected another name (origins or rules add this one, and no origin gets the header of shadow traffic)';
  const reads = objectsIn([viewer, attributes, contexts]).some((place) => place.header === header);
  const matches = objectsIn(rules).some(({ when }) => Object.hasOwn(Object(Object(when).header), header as string));
  return reads || matches
    ? 'expected another name (the viewer’s id, attributes or rules are read from this one, and the router takes it away before)'
    : undefined;
}

/** All objects inside a value, at any depth. */
function objectsIn(value: unknown): Record<string, unknown>[] {
  const found: Record<string, unknown>[] = [];
  const seen = new Set<unknown>([value]);
  for (const one of seen) {
    if (typeof one !== 'object' || one === null) continue;
    if (isObject(one)) found.push(one);
    for (const inner of Object.values(one)) seen.add(inner);
  }
  return found;
}
