/** What a bundle is made of, as CycloneDX: scanners find no packages in a bundled file, but they read `*.cdx.json`. */
import { execFileSync } from 'node:child_process';

export const BILL_OF_MATERIALS_FILE = 'relay.cdx.json';

interface Component {
  readonly 'bom-ref': string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
}

interface Bill {
  readonly metadata: { readonly tools: unknown; readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

/** npm's bill of materials of a lock file. */
export function lockedPackages(root: string): Bill {
  const args = ['sbom', '--package-lock-only', '--sbom-format', 'cyclonedx', '--sbom-type', 'application'];
  return JSON.parse(execFileSync('npm', args, { cwd: root, maxBuffer: 64 * 1024 * 1024, encoding: 'utf8' })) as Bill;
}

/**
 * The part of a bill that a bundle contains. It is equal for equal bundles, so it has neither serial number nor time, both of
 * which CycloneDX allows to leave out. Throws an Error for a package that the bill does not have.
 */
export function billOf(
  all: Bill,
  { name, version }: { readonly name: string; readonly version: string },
  bundled: readonly { readonly name: string; readonly version: string }[],
): object {
  const { tools, component } = all.metadata;
  const refs = new Set(bundled.map((each) => `${each.name}@${each.version}`));
  const known = new Set(all.components.map((each) => each['bom-ref']));
  for (const ref of refs) if (!known.has(ref)) throw new Error(`${ref} is in the bundle, but not in package-lock.json`);
  const root = component['bom-ref'];
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      lifecycles: [{ phase: 'build' }],
      tools,
      component: {
        ...{ 'bom-ref': root, type: 'application', name, version, purl: `pkg:npm/${name}@${version}` },
        licenses: [{ license: { id: 'Apache-2.0' } }],
      },
    },
    // Whatever npm calls a development dependency is needed once its code is in the bundle.
    components: all.components
      .filter((each) => refs.has(each['bom-ref']))
      .map((each) => ({ ...each, scope: 'required', properties: undefined })),
    dependencies: all.dependencies
      .filter(({ ref }) => ref === root || refs.has(ref))
      .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((each) => refs.has(each)) })),
  };
}
