/**
 * Reads OTLP's protobuf by the field numbers of opentelemetry-proto 1.x, without the SDK that wrote it.
 * https://github.com/open-telemetry/opentelemetry-proto
 */
type Type = 'string' | 'bool' | 'int' | 'double' | 'fixed64' | 'fixed32' | 'doubles' | 'fixed64s' | 'hex' | Schema;
interface Field {
  readonly name: string;
  readonly type: Type;
  readonly many?: true;
}
interface Schema {
  readonly [number: number]: Field;
}
// biome-ignore lint/suspicious/noExplicitAny: decoded by a schema
type Message = Record<string, any>;

const anyValue: Record<number, Field> = {
  1: { name: 'string', type: 'string' },
  2: { name: 'bool', type: 'bool' },
  3: { name: 'int', type: 'int' },
  4: { name: 'double', type: 'double' },
};
anyValue[5] = { name: 'array', type: { 1: { name: 'values', type: anyValue, many: true } } };
const keyValue: Schema = { 1: { name: 'key', type: 'string' }, 2: { name: 'value', type: anyValue } };
const attributes: Field = { name: 'attributes', type: keyValue, many: true };
const resource: Field = { name: 'resource', type: { 1: attributes } };
const scope: Field = {
  name: 'scope',
  type: { 1: { name: 'name', type: 'string' }, 2: { name: 'version', type: 'string' } },
};
const times = { 2: { name: 'start', type: 'fixed64' }, 3: { name: 'time', type: 'fixed64' } } as const;
const numberPoint: Schema = {
  ...times,
  4: { name: 'double', type: 'double' },
  6: { name: 'int', type: 'fixed64' },
  7: attributes,
};
const histogramPoint: Schema = {
  ...times,
  4: { name: 'count', type: 'fixed64' },
  5: { name: 'sum', type: 'double' },
  6: { name: 'counts', type: 'fixed64s' },
  7: { name: 'bounds', type: 'doubles' },
  9: attributes,
};
const pointsOf = (type: Schema): Field => ({ name: 'points', type, many: true });
const temporality: Field = { name: 'temporality', type: 'int' };
const metric: Schema = {
  1: { name: 'name', type: 'string' },
  2: { name: 'description', type: 'string' },
  3: { name: 'unit', type: 'string' },
  5: { name: 'gauge', type: { 1: pointsOf(numberPoint) } },
  7: { name: 'sum', type: { 1: pointsOf(numberPoint), 2: temporality, 3: { name: 'isMonotonic', type: 'bool' } } },
  9: { name: 'histogram', type: { 1: pointsOf(histogramPoint), 2: temporality } },
};
const span: Schema = {
  1: { name: 'traceId', type: 'hex' },
  2: { name: 'spanId', type: 'hex' },
  3: { name: 'traceState', type: 'string' },
  4: { name: 'parentSpanId', type: 'hex' },
  5: { name: 'name', type: 'string' },
  6: { name: 'kind', type: 'int' },
  7: { name: 'start', type: 'fixed64' },
  8: { name: 'end', type: 'fixed64' },
  9: attributes,
  15: { name: 'status', type: { 2: { name: 'message', type: 'string' }, 3: { name: 'code', type: 'int' } } },
};
const requestOf = (items: Field): Schema => ({
  1: {
    name: 'resources',
    type: { 1: resource, 2: { name: 'scopes', type: { 1: scope, 2: items }, many: true } },
    many: true,
  },
});
const metricsRequest = requestOf({ name: 'items', type: metric, many: true });
const tracesRequest = requestOf({ name: 'items', type: span, many: true });

function varint(bytes: Buffer, at: number): [value: number, next: number] {
  let value = 0n;
  for (let shift = 0n; ; shift += 7n, at++) {
    const byte = bytes[at];
    if (byte === undefined) throw new Error('the message ends within a number');
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return [Number(BigInt.asIntN(64, value)), at + 1];
  }
}

/** Throws for what is not protobuf. Fields that the schema does not name are left out. */
function decode(bytes: Buffer, schema: Schema): Message {
  const message: Message = {};
  for (let at = 0; at < bytes.length; ) {
    const [tag, begin] = varint(bytes, at);
    const wire = tag & 7;
    let end = begin + { 1: 8, 5: 4 }[wire as 1 | 5]!;
    let raw: number | Buffer;
    if (wire === 0) [raw, end] = varint(bytes, begin);
    else if (wire === 2) {
      const [length, from] = varint(bytes, begin);
      end = from + length;
      raw = bytes.subarray(from, end);
    } else if (wire === 1 || wire === 5) raw = bytes.subarray(begin, end);
    else throw new Error(`wire type ${wire}`);
    if (end > bytes.length) throw new Error('the message is cut');
    at = end;
    const field = schema[tag >> 3];
    if (!field) continue;
    const value = decoded(raw, field.type);
    if (field.many) message[field.name] = [...(message[field.name] ?? []), value];
    else message[field.name] = value;
  }
  return message;
}

function decoded(raw: number | Buffer, type: Type): unknown {
  if (type === 'int') return raw;
  if (type === 'bool') return raw === 1;
  const bytes = raw as Buffer;
  const eights = () => Array.from({ length: bytes.length / 8 }, (_, index) => index * 8);
  if (type === 'string') return bytes.toString();
  if (type === 'hex') return bytes.toString('hex');
  if (type === 'double') return bytes.readDoubleLE();
  if (type === 'fixed64') return Number(bytes.readBigUInt64LE());
  if (type === 'fixed32') return bytes.readUInt32LE();
  if (type === 'doubles') return eights().map((at) => bytes.readDoubleLE(at));
  if (type === 'fixed64s') return eights().map((at) => Number(bytes.readBigUInt64LE(at)));
  return decode(bytes, type);
}

type Attributes = Readonly<Record<string, string | number | boolean | readonly string[]>>;

function attributesOf({ attributes = [] }: Message): Attributes {
  const plain = ({ string, bool, int, double, array }: Message = {}): unknown =>
    array ? (array.values ?? []).map(plain) : (string ?? bool ?? int ?? double);
  return Object.fromEntries(attributes.map(({ key, value }: Message) => [key, plain(value)]));
}

export interface ReceivedPoint {
  readonly attributes: Attributes;
  /** Of sums and gauges. */
  readonly value: number;
  readonly histogram?: {
    readonly count: number;
    readonly sum: number;
    readonly bounds: readonly number[];
    readonly counts: readonly number[];
  };
  /** Unix ns. */
  readonly start: number;
  readonly time: number;
}

export interface ReceivedMetric {
  readonly name: string;
  readonly description: string;
  readonly unit: string;
  readonly kind: 'gauge' | 'sum' | 'histogram';
  /** 1: delta, 2: cumulative; of sums and histograms. */
  readonly temporality: number | undefined;
  readonly isMonotonic: boolean;
  readonly points: readonly ReceivedPoint[];
  readonly resource: Attributes;
}

export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly traceState: string;
  readonly name: string;
  /** 1: internal, 2: server. */
  readonly kind: number;
  /** Unix ns. */
  readonly start: number;
  readonly end: number;
  readonly attributes: Attributes;
  readonly status: { readonly code?: number; readonly message?: string };
  readonly resource: Attributes;
}

function* itemsIn(request: Message): Generator<[item: Message, resource: Attributes]> {
  for (const { resource: of = {}, scopes = [] } of request.resources ?? [])
    for (const { items = [] } of scopes) for (const item of items) yield [item, attributesOf(of)];
}

export function metricsIn(body: Buffer): ReceivedMetric[] {
  return [...itemsIn(decode(body, metricsRequest))].map(([item, of]) => {
    const kind = (['gauge', 'sum', 'histogram'] as const).find((one) => one in item)!;
    const points = (item[kind].points ?? []).map((point: Message) => ({
      attributes: attributesOf(point),
      value: point.double ?? point.int ?? 0,
      ...(kind === 'histogram' && {
        histogram: {
          count: point.count ?? 0,
          sum: point.sum ?? 0,
          bounds: point.bounds ?? [],
          counts: point.counts ?? [],
        },
      }),
      start: point.start ?? 0,
      time: point.time ?? 0,
    }));
    return {
      name: item.name,
      description: item.description ?? '',
      unit: item.unit ?? '',
      kind,
      temporality: item[kind].temporality,
      isMonotonic: item[kind].isMonotonic ?? false,
      points,
      resource: of,
    };
  });
}

export function spansIn(body: Buffer): ReceivedSpan[] {
  return [...itemsIn(decode(body, tracesRequest))].map(
    ([item, of]) =>
      ({
        parentSpanId: '',
        traceState: '',
        status: {},
        ...item,
        attributes: attributesOf(item),
        resource: of,
      }) as unknown as ReceivedSpan,
  );
}
