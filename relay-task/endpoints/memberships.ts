/** Compiled flags, and memberships in Big Segments, for the answer to one request. */
import type { Context } from '../../lib/evaluation/index.ts';
import type { ClientView, Memberships } from '../ports.ts';
import { notYetReply, type Reply } from './reply.ts';
import type { ServedEnvironment } from './services.ts';

/** What an evaluation needs, or a 503: without its memberships a context would get a wrong answer. */
export async function prepare(
  { name, clientView }: ServedEnvironment,
  context: Context,
): Promise<{ readonly memberships: Memberships | undefined } | { readonly reply: Reply }> {
  const compiling = clientView.compile();
  if (compiling) await compiling;
  let memberships: Memberships | undefined;
  // Again if a Big Segment of another context kind arrived meanwhile.
  while (!clientView.isPrepared(context, memberships)) {
    memberships = await clientView.prepare(context);
    if (!memberships) return { reply: notYetReply(`environment "${name}" is looking up too many contexts; try again`) };
  }
  return { memberships };
}

/** Whether an evaluation has to call `prepare` again before it begins. Flags begin to be compiled. */
export function needsPreparation(
  clientView: ClientView,
  context: Context,
  memberships: Memberships | undefined,
): boolean {
  return clientView.compile() !== undefined || !clientView.isPrepared(context, memberships);
}
