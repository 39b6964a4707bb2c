import { type Attributes, type AttributeValue, formatRev, type Rev } from '../../lib/flag-table/index.ts';

/** A condition of a write, ready for DynamoDB. Names and values use the letter `c`, so that updates may use others. */
export interface Condition {
  readonly expression: string;
  readonly names: Readonly<Record<string, string>>;
  readonly values: Attributes;
}

/** LaunchDarkly's rule for every store: only over nothing, or over an older version. */
export function absentOrOlder(version: number): Condition {
  return {
    expression: 'attribute_not_exists(#cNamespace) OR #cVersion < :cVersion',
    names: { '#cNamespace': 'namespace', '#cVersion': 'version' },
    values: { ':cVersion': { N: String(version) } },
  };
}

export const absent: Condition = {
  expression: 'attribute_not_exists(#cNamespace)',
  names: { '#cNamespace': 'namespace' },
  values: {},
};

/** Snapshot items go only over an older revision, so a writer that came too late changes nothing. */
export function absentOrOlderRev(rev: Rev): Condition {
  return {
    expression: 'attribute_not_exists(#cRev) OR #cRev < :cRev',
    names: { '#cRev': 'rev' },
    values: { ':cRev': { S: formatRev(rev) } },
  };
}

/** Compare-and-set: the item is still exactly what was read. */
export function exactly(read: Attributes): Condition {
  const entries = Object.entries(read).filter(([name]) => name !== 'namespace' && name !== 'key');
  const terms = ['attribute_exists(#cNamespace)'];
  const names: Record<string, string> = { '#cNamespace': 'namespace' };
  const values: Record<string, AttributeValue> = {};
  for (const [index, [name, value]] of entries.entries()) {
    terms.push(`#c${index} = :c${index}`);
    names[`#c${index}`] = name;
    values[`:c${index}`] = value;
  }
  for (const name of ['version', 'item'].filter((name) => !(name in read))) {
    terms.push(`attribute_not_exists(#c${name})`);
    names[`#c${name}`] = name;
  }
  return { expression: terms.join(' AND '), names, values };
}

/** The named attributes have exactly these values. */
export function equal(wanted: Attributes): Condition {
  const entries = Object.entries(wanted);
  return {
    expression: entries.map((_, index) => `#ce${index} = :ce${index}`).join(' AND '),
    names: Object.fromEntries(entries.map(([name], index) => [`#ce${index}`, name])),
    values: Object.fromEntries(entries.map(([, value], index) => [`:ce${index}`, value])),
  };
}

export function both(a: Condition, b: Condition): Condition {
  return {
    expression: `(${a.expression}) AND (${b.expression})`,
    names: { ...a.names, ...b.names },
    values: { ...a.values, ...b.values },
  };
}
