/** The partition keys of one environment. */
interface Namespaces {
  readonly features: string;
  readonly segments: string;
  /** Partition and sort key of the marker that LaunchDarkly's layout is complete. */
  readonly inited: string;
  /** The snapshot's items: head, body, parts, delta. */
  readonly snapshot: string;
  readonly bigSegmentsMetadata: string;
  readonly bigSegmentsUser: string;
}

/** LaunchDarkly's namespaces and that of the snapshot: `<prefix>:<name>`, without a colon if the prefix is empty. */
export function namespaces(prefix: string): Namespaces {
  return {
    features: inNamespace(prefix, 'features'),
    segments: inNamespace(prefix, 'segments'),
    inited: inNamespace(prefix, '$inited'),
    snapshot: inNamespace(prefix, '$snapshot'),
    bigSegmentsMetadata: inNamespace(prefix, 'big_segments_metadata'),
    bigSegmentsUser: inNamespace(prefix, 'big_segments_user'),
  };
}

type Name = 'features' | 'segments' | '$inited' | '$snapshot' | 'big_segments_metadata' | 'big_segments_user';

/** One of them. A bundle that only needs some has no code for the others. */
export function inNamespace(prefix: string, name: Name): string {
  return prefix === '' ? name : `${prefix}:${name}`;
}

/** Where the view of an environment that a payload filter gives is kept: below the environment's own prefix. */
export function filteredPrefix(prefix: string, filter: string): string {
  return prefix === '' ? filter : `${prefix}/${filter}`;
}
