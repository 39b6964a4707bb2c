/** Which version runs: dashboards show it over time, and so when a deployment happened. */
import { httpRequest } from '../common/http-request.ts';
import type { Measures } from '../common/measures.ts';

const TIMEOUT_MS = 2_000;
const MAX_ANSWER_BYTES = 256 * 1_024;

/**
 * Registers `version_info`, 1 with the version as its label. On ECS that names the revision of the task definition too, which
 * every deployment changes: `metadataUri` is ECS_CONTAINER_METADATA_URI_V4. AWS: "Amazon ECS task metadata endpoint version 4".
 * Never rejects; without an answer the version alone is told.
 */
export async function tellVersion(measures: Measures, version: string, metadataUri: string | undefined): Promise<void> {
  const revision = metadataUri === undefined ? undefined : await revisionAt(metadataUri);
  measures
    .gauge('version_info')
    .set({ version: revision === undefined ? version : `${version} (revision ${revision})` }, 1);
}

async function revisionAt(metadataUri: string): Promise<string | undefined> {
  try {
    const url = new URL(`${metadataUri}/task`);
    const { status, body } = await httpRequest({ url, timeoutMs: TIMEOUT_MS, maxAnswerBytes: MAX_ANSWER_BYTES });
    if (status !== 200) return undefined;
    const { Revision: revision } = JSON.parse(body.toString()) as { Revision?: unknown };
    return typeof revision === 'string' && /^\d{1,10}$/.test(revision) ? revision : undefined;
  } catch {
    return undefined;
  }
}
