/** Dashboards in CloudFormation templates. */
import type { TemplateResource } from '../../lib/infrastructure/template.ts';

/** CloudWatch: "Dashboard body structure and syntax". */
export interface DashboardBody {
  readonly widgets: readonly Widget[];
}

export interface Widget {
  readonly type: string;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly properties: WidgetProperties;
}

export interface WidgetProperties {
  readonly title?: string;
  readonly markdown?: string;
  readonly view?: string;
  readonly region?: string;
  /** A range of its own: `-P30D`. */
  readonly start?: string;
  readonly stacked?: boolean;
  readonly metrics?: readonly (readonly unknown[])[];
  readonly annotations?: { readonly horizontal?: readonly { readonly value: number; readonly label?: string }[] };
  readonly yAxis?: { readonly left?: Axis; readonly right?: Axis };
  readonly alarms?: readonly string[];
  readonly query?: string;
}

export interface Axis {
  readonly label?: string;
  readonly min?: number;
  readonly max?: number;
}

type Resources = Readonly<Record<string, TemplateResource>>;

/** Of a template, as they are deployed to the region, but with names instead of what only a deployment knows. */
export function dashboardsIn(resources: Resources, region: string): DashboardBody[] {
  return Object.values(resources)
    .filter(({ Type }) => Type === 'AWS::CloudWatch::Dashboard')
    .map(({ Properties = {} }) =>
      JSON.parse(
        textOf(Properties.DashboardBody, resources)
          .replaceAll('AWS::Region', region)
          .replaceAll('AWS::Partition', 'aws'),
      ),
    );
}

/** Resolves a template string; a reference becomes the name of its resource. */
function textOf(value: unknown, resources: Resources): string {
  if (typeof value === 'string') return value;
  const { 'Fn::Join': join, 'Fn::GetAtt': attribute, Ref: ref } = value as Record<string, unknown>;
  if (Array.isArray(join)) return (join[1] as unknown[]).map((part) => textOf(part, resources)).join(String(join[0]));
  const id = Array.isArray(attribute) ? attribute[0] : ref;
  const { AlarmName, Name } = resources[String(id)]?.Properties ?? {};
  return String(AlarmName ?? Name ?? id);
}
