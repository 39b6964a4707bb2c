/** Checks `preview` and `shadow` of the router's configuration at build. */
import { createPublicKey } from 'node:crypto';
import { type ConfigProblem, isIntegerIn, isObject, problem, unknownProblems } from './check-values.ts';
import { describeAddedHeaderProblem, describeReadHeaderProblem, isHeaderValue } from './header-rules.ts';
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

/** Every problem of `shadow`; none if it is absent. */
export function shadowProblems(shadow: unknown): ConfigProblem[] {
  if (shadow === undefined) return [];
  if (!isObject(shadow)) return [problem('shadow', shadow, 'expected { header, value }')];
  const problems = unknownProblems('shadow', shadow, ['header', 'value']);
  const { header, value } = shadow;
  // Functions see it, and take it away.
  const wrong = describeReadHeaderProblem(header) ?? describeAddedHeaderProblem(header);
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
