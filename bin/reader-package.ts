/** `npm run reader-package -- <directory>`: the edge reader as an npm package with its types. */
import { runReaderPackage } from './reader-package/run.ts';

try {
  process.stdout.write(runReaderPackage(process.argv.slice(2)));
} catch (error) {
  process.stderr.write((error as Error).message);
  process.exitCode = 2;
}
