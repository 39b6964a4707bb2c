import { Certificate, CertificateValidation, type ICertificate } from 'aws-cdk-lib/aws-certificatemanager';
import {
  AaaaRecord,
  ARecord,
  HostedZone,
  type IAliasRecordTarget,
  type IHostedZone,
  RecordTarget,
} from 'aws-cdk-lib/aws-route53';
import { Construct } from 'constructs';
import type { HostedZoneSettings } from './stage-settings.ts';

export interface NamesInZoneProps {
  readonly zone: IHostedZone;
  readonly names: readonly string[];
  /** Whether to make a certificate for the names, in the stack's region. */
  readonly certificate: boolean;
}

/** A zone of a stage file. */
export function zoneFrom(
  scope: Construct,
  id: string,
  { id: hostedZoneId, name: zoneName }: HostedZoneSettings,
): IHostedZone {
  return HostedZone.fromHostedZoneAttributes(scope, id, { hostedZoneId, zoneName });
}

/** Names in a hosted zone of the account: their records and, if wanted, a certificate that ACM renews by itself. */
export class NamesInZone extends Construct {
  readonly certificate?: ICertificate;
  private readonly zone: IHostedZone;
  private readonly names: readonly string[];

  constructor(scope: Construct, id: string, { zone, names, certificate }: NamesInZoneProps) {
    super(scope, id);
    this.zone = zone;
    this.names = names;
    const [domainName, ...subjectAlternativeNames] = names;
    if (!certificate || domainName === undefined) return;
    this.certificate = new Certificate(this, 'Certificate', {
      domainName,
      subjectAlternativeNames,
      validation: CertificateValidation.fromDns(zone),
    });
  }

  /**
   * Makes the records. With a region they are latency records, of which every region may have one under the same name; a single one
   * answers like a simple record. A simple one could not be joined by a second region later, since Route 53 refuses a mixture.
   */
  leadTo(target: IAliasRecordTarget, { region, ipv6 }: { readonly region?: string; readonly ipv6: boolean }): void {
    const { zone } = this;
    for (const recordName of this.names) {
      const props = {
        zone,
        recordName,
        target: RecordTarget.fromAlias(target),
        ...(region && { region, setIdentifier: `edge-flag-relay ${region}` }),
      };
      new ARecord(this, `A-${recordName}`, props);
      if (ipv6) new AaaaRecord(this, `Aaaa-${recordName}`, props);
    }
  }
}
