/** What requests take in memory, server SDKs and the others apart, and which of them are alike when it is short. */
import { type Budget, createBudget } from '../common/budget.ts';
import { createFairLine } from '../common/fair-line.ts';
import type { Lanes } from '../common/fair-queue.ts';
import { createAnswers } from './answers.ts';
import type { Selected } from './credentials.ts';
import { createHoldings } from './holdings.ts';
import type { BodyMemory } from './request-body.ts';

export interface RoomOptions {
  readonly bodies: Budget;
  readonly answers: Budget;
}

interface RequestLanes {
  /** Server SDKs never wait behind browsers. */
  readonly kind: 'server' | 'client';
  /** Whose requests take turns: by environment, and by address. */
  readonly work: Lanes;
  /** Which requests must not take the memory of all others: by credential, and by address. */
  readonly memory: Lanes;
}

export function lanesOf(selected: Selected, address: string): RequestLanes {
  const { environment, credential, credentialKind } = selected;
  const kind = credentialKind === 'sdkKey' ? 'server' : 'client';
  return {
    kind,
    work: [`${kind} ${environment.name}`, `${kind} ${address}`],
    memory: [`${credentialKind} ${credential}`, `${kind} ${address}`],
  };
}

/** Of a request without a credential. */
export function openLanes(address: string): MemoryLanes {
  return { kind: 'client', memory: ['none', address] };
}

type MemoryLanes = Omit<RequestLanes, 'work'>;

export type RequestRoom = ReturnType<typeof createRequestRoom>;

/** Of the memory for bodies, for those of client-side SDKs, so that all of them together leave some to server SDKs. */
const PART_FOR_CLIENTS = 3 / 4;

/** Bodies of server SDKs, and of the others, that are decompressed at the same time. */
const MAX_UNPACKING = 8;

export function createRequestRoom(
  { bodies, answers: forAnswers }: RoomOptions,
  waiting: { readonly waitMs: number | undefined },
) {
  const ofClients = createBudget(Math.floor(bodies.maxBytes * PART_FOR_CLIENTS), { parent: bodies });
  const holdings = { server: createHoldings(bodies, waiting), client: createHoldings(ofClients, waiting) };
  const answers = createAnswers(forAnswers);
  const unpacking = {
    server: createFairLine({ maxInside: MAX_UNPACKING }),
    client: createFairLine({ maxInside: MAX_UNPACKING }),
  };
  return {
    /** For its head, its body, and what it holds besides, without its answer. A body is unpacked when it is its turn. */
    open({ kind, memory: lanes }: MemoryLanes): BodyMemory {
      return Object.assign(holdings[kind].open(lanes), {
        inTurn: <T>(job: () => Promise<T>) => unpacking[kind].run(lanes, job),
      });
    },
    answer: ({ kind, memory }: MemoryLanes) => answers.open(kind, memory),
    /** Requests that wait for memory are answered at once. */
    close() {
      holdings.server.close();
      holdings.client.close();
    },
  };
}
