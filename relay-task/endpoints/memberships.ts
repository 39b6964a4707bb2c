/** Compiled flags, and memberships in Big Segments, for the answer to one request. */
import type { Context } from '../../lib/evaluation/index.ts';
import type { Memberships } from '../ports.ts';
import { notYetReply, type Reply } from './reply.ts';
import type { EnvironmentRequest } from './request.ts';

/**
 * What an evaluation needs, when it is the request's turn, or a 503: without its memberships a context would get a wrong answer. It must be
 * used at once, or be looked at again with `isPrepared`.
 */
export async function prepare(
  { environment: { name, clientView }, pause }: Pick<EnvironmentRequest, 'environment' | 'pause'>,
  context: Context,
): Promise<{ readonly memberships: Memberships | undefined } | { readonly reply: Reply }> {
  const compiling = clientView.compile();
  if (compiling) await compiling;
  let memberships: Memberships | undefined;
  do {
    // Again if a Big Segment of another context kind, or another environment's flags, arrived meanwhile.
    while (!clientView.isPrepared(context, memberships)) {
      memberships = await clientView.prepare(context);
      if (!memberships)
        return { reply: notYetReply(`environment "${name}" is looking up too many contexts; try again`) };
    }
    // All requests that waited for the same flags continue at once.
    await pause();
  } while (!clientView.isPrepared(context, memberships));
  return { memberships };
}
