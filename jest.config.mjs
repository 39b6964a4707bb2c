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
  // The first import of the CDK or of an official SDK in a worker takes seconds on two shared cores.
  testTimeout: 30_000,
  maxWorkers: 2,
  setupFiles: ['<rootDir>/test/support/jest-setup.mjs'],
  reporters: ['default', '<rootDir>/test/support/skips-reporter.mjs'],
};
