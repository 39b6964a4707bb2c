import { readFileSync } from 'node:fs';

/** The package's own names: in the repository they stand for the sources, in tsconfig.json and here. */
const { compilerOptions } = JSON.parse(readFileSync(new URL('tsconfig.json', import.meta.url), 'utf8'));
const moduleNameMapper = Object.fromEntries(
  Object.entries(compilerOptions.paths).map(([name, [source]]) => [`^${name}$`, `<rootDir>/${source}`]),
);

const swc = (parser) => [
  '@swc/jest',
  {
    jsc: { target: 'es2022', parser },
    module: { type: 'commonjs' },
    sourceMaps: true,
  },
];

/** Jest runs the TypeScript sources through swc as CommonJS; type checking is `npm run typecheck`. */
export default {
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  transform: {
    '^.+\\.ts$': swc({ syntax: 'typescript' }),
    // It loads node:http by `import()`, which Jest has no answer to.
    '/@opentelemetry/otlp-exporter-base/.+\\.js$': swc({ syntax: 'ecmascript' }),
  },
  transformIgnorePatterns: ['/node_modules/(?!@opentelemetry/otlp-exporter-base/)'],
  moduleNameMapper,
  // What `cdk synth` and the bundler leave behind holds copies of package.json and of the sources.
  modulePathIgnorePatterns: ['<rootDir>/cdk.out/', '<rootDir>/dist/'],
  // Only against hanging: no test may fail because the machine is slow.
  testTimeout: 900_000,
  // Two per core of the smallest machine: a suite waits for timers and sockets for half of its time.
  maxWorkers: 4,
  // After some dozens of suites with full counts a worker had no memory left for the next one: it is replaced before.
  workerIdleMemoryLimit: '1500MB',
  // A busy machine takes a second or more to release the memory of a large worker. One that has something open is waited for as long.
  workerGracefulExitTimeout: 5_000,
  globalSetup: '<rootDir>/test/support/jest-global-setup.mjs',
  runtime: '<rootDir>/test/support/jest-runtime.cjs',
  setupFiles: ['<rootDir>/test/support/jest-setup.mjs'],
  ...(process.env.COSTS && { setupFilesAfterEnv: ['<rootDir>/test/support/jest-costs.cjs'] }),
  reporters: ['default', '<rootDir>/test/support/skips-reporter.mjs'],
};
