import type { Stage } from '../../lib/infrastructure/stages.ts';
import { type Aws, NotAnAnswer } from '../aws/ask.ts';
import { explainAwsError } from '../aws/explain.ts';
import { bad, type Check, good, inTurns, note, unknown } from '../checks/check.ts';

interface Wanted {
  readonly arn: string;
  /** The names that clients connect to, as far as the stage file says. */
  readonly names: readonly string[];
}

/** ACM's DescribeCertificate, as far as it is needed. Times are Unix seconds. */
interface Certificate {
  readonly Status?: string;
  readonly FailureReason?: string;
  readonly Type?: string;
  readonly NotAfter?: number;
  readonly SubjectAlternativeNames?: readonly string[];
  readonly DomainValidationOptions?: readonly {
    readonly ValidationStatus?: string;
    readonly ResourceRecord?: { readonly Name: string; readonly Type: string; readonly Value: string };
  }[];
}

const SOON_MS = 30 * 86_400_000;

/** The certificates that the stage file gives: issued, for the right names, not about to expire. */
export async function certificateChecks(aws: Aws, stage: Stage, now = Date.now()): Promise<Check[]> {
  return inTurns(
    wantedBy(stage),
    async ({ arn, names }) => {
      // Stage files come with certificates of AWS's example account.
      if (/:111122223333:/.test(arn)) {
        return [bad('certificate', arn, `the certificate ${arn} is an example`, 'put your own into the stage file')];
      }
      const { Certificate: one } = await aws.json<{ Certificate?: Certificate }>(
        'acm',
        regionOf(arn),
        'DescribeCertificate',
        { CertificateArn: arn },
      );
      if (one?.Status === undefined) throw new NotAnAnswer(`acm in ${regionOf(arn)}`, 'no certificate');
      return checksOf(arn, names, one, now);
    },
    ({ arn }, error) =>
      (error as Error).name === 'ResourceNotFoundException'
        ? bad('certificate', arn, `the certificate ${arn} does not exist`, 'correct its ARN in the stage file')
        : unknown('certificate', arn, `cannot describe the certificate ${arn}`, explainAwsError(error, regionOf(arn))),
  );
}

function wantedBy({ relay, edge }: Stage): Wanted[] {
  const of = (arns: readonly (string | undefined)[], names: readonly (string | undefined)[]) =>
    arns.flatMap((arn) => (arn === undefined ? [] : [{ arn, names: names.filter((name) => name !== undefined) }]));
  const all = [
    ...of(Object.values(relay.certificates), [relay.hostName]),
    ...of(Object.values(relay.publicAccess?.certificates ?? {}), [relay.publicAccess?.hostName]),
    ...of([edge?.certificateArn], edge?.domainNames ?? []),
  ];
  const arns = [...new Set(all.map(({ arn }) => arn))];
  return arns.map((arn) => ({ arn, names: all.flatMap((one) => (one.arn === arn ? one.names : [])) }));
}

function checksOf(arn: string, names: readonly string[], one: Certificate, now: number): Check[] {
  const { Status, FailureReason, SubjectAlternativeNames: covered = [], NotAfter, Type } = one;
  const checks: Check[] = [];
  if (Status !== 'ISSUED') {
    const why = FailureReason === undefined ? '' : `: ${FailureReason}`;
    checks.push(bad('certificate', arn, `the certificate ${arn} is ${Status}${why}`, adviceOn(one)));
  }
  const missing = names.filter((name) => !covered.some((pattern) => covers(pattern, name)));
  if (missing.length > 0) {
    checks.push(
      bad(
        'certificate',
        arn,
        `the certificate ${arn} is for ${covered.join(', ')}, not for ${missing.join(', ')}`,
        'request one for that name, or correct the name in the stage file',
      ),
    );
  }
  if (NotAfter !== undefined && NotAfter * 1_000 - now < SOON_MS && Status === 'ISSUED') {
    const advice =
      Type === 'IMPORTED'
        ? 'import its successor under the same ARN'
        : 'ACM renews it while its validation record is in DNS';
    checks.push(
      note('certificate', arn, `the certificate ${arn} expires on ${new Date(NotAfter * 1_000).toISOString()}`, advice),
    );
  }
  return checks.length > 0 ? checks : [good('certificate', arn, `the certificate for ${covered.join(', ')} is issued`)];
}

function adviceOn(one: Certificate): string {
  const { Status, DomainValidationOptions = [] } = one;
  if (Status !== 'PENDING_VALIDATION')
    return one.Type === 'IMPORTED'
      ? 'import its successor under the same ARN'
      : 'request another one, and put its ARN into the stage file';
  const records = DomainValidationOptions.filter(({ ValidationStatus }) => ValidationStatus !== 'SUCCESS').flatMap(
    ({ ResourceRecord: one }) => (one ? [`${one.Name} ${one.Type} ${one.Value}`] : []),
  );
  return records.length > 0
    ? `create in DNS: ${[...new Set(records)].join('; ')}`
    : 'confirm it by the e-mail from ACM';
}

/** A wildcard stands for exactly one label. RFC 6125 6.4.3 */
export function covers(pattern: string, name: string): boolean {
  if (!pattern.startsWith('*.')) return pattern === name;
  return name === pattern || name.slice(name.indexOf('.') + 1) === pattern.slice(2);
}

function regionOf(arn: string): string {
  return arn.split(':')[3] ?? '';
}
