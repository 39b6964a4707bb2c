import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder for what the suites of one run share; see once-per-run.ts. */
export default function setUp() {
  const folder = mkdtempSync(join(tmpdir(), 'edge-flag-relay-tests-'));
  // Relays in tests run as other users, too.
  chmodSync(folder, 0o755);
  process.env.EDGE_FLAG_RELAY_TEST_RUN = folder;
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
}
