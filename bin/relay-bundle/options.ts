/** esbuild's options for programs that run as bundles, with every package that they need. */
export const PROGRAM_OPTIONS = {
  bundle: true,
  minifySyntax: true,
  minifyWhitespace: true,
  // Keeps function names in logged stack traces.
  keepNames: true,
  // Programs await at their top level, which CommonJS cannot.
  format: 'esm',
  platform: 'node',
  target: 'node20',
  // Some dependencies are CommonJS and load Node's own modules with `require`.
  banner: { js: `import{createRequire as makeRequire}from'node:module';const require=makeRequire(import.meta.url);` },
  // They are in the notices beside the bundle.
  legalComments: 'none',
  // Native code, which no bundle can contain; used if it is installed beside the bundle (docs/datadog.md).
  external: ['unix-dgram'] as string[],
  metafile: true,
  logLevel: 'warning',
} as const;
