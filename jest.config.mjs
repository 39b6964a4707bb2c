/** Jest runs the TypeScript sources through swc as CommonJS; type checking is `npm run typecheck`. */
export default {
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
        module: { type: 'commonjs' },
        sourceMaps: 'inline',
      },
    ],
  },
  // A bound against hanging, above the one of `eventually`: a machine under load is many times slower than an idle one.
  testTimeout: 120_000,
  maxWorkers: 2,
  modulePathIgnorePatterns: ['<rootDir>/(cdk\\.out|dist)/'],
  setupFiles: ['<rootDir>/test/support/jest-setup.mjs'],
  reporters: ['default', '<rootDir>/test/support/skips-reporter.mjs'],
};
