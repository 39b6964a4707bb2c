/** What outsiders can make the relay hold in memory: one budget for clients, with parts for each kind, and one for LaunchDarkly. */
import { type Budget, createBudget } from '../common/budget.ts';
import type { ProcessLimits } from '../common/process-limits.ts';
import type { MemoryPart, MemoryUsage } from '../ports.ts';
import { createReceivedMemory, type ReceivedMemory, receivedMemoryBytes } from '../upstream/received-limit.ts';

export interface Memory {
  /** Of the process: the container's or the machine's; in bytes. */
  readonly limitBytes: number;
  readonly whole: Budget;
  /** Connections that are no streams, and bodies of requests while they arrive, are unpacked and worked on. */
  readonly requests: {
    readonly connections: Budget;
    readonly bodies: Budget;
    readonly answers: Budget;
    /** What answers to polls of server SDKs share, on their way and kept for the next ones. */
    readonly polls: Budget;
  };
  /** Events that wait to be forwarded. */
  readonly events: Budget;
  /** Open streams of server SDKs, and of client-side SDKs with their contexts and what they have not read, answers too. */
  readonly streams: { readonly servers: Budget; readonly clients: Budget };
  /** Texts of answers to client-side SDKs, shared with later clients that get the same: a part of what these may take. */
  readonly answerTexts: Budget;
  /** What LaunchDarkly has not sent to its end. Beside the whole: clients must not keep flags from arriving. */
  readonly received: ReceivedMemory;
  /** Flags and segments of all environments, in characters of their texts. Beside the whole, too. */
  readonly flags: Budget;
}

/** All of them can be made again, and are all forgotten in one turn. */
const MAX_TEXT_BYTES = 32 * 1024 * 1024;

/**
 * `budgetBytes`: undefined or 0 takes a quarter of the memory, but at most half of the heap, since most of it is counted as
 * heap; the rest is for flags, code, and what zlib, TLS and the kernel take beside the heap. Server SDKs always find what
 * is left when anyone who needs no secret key has taken all that they may.
 */
export function createMemory(limits: ProcessLimits, budgetBytes?: number): Memory {
  const { memoryBytes, heapBytes } = limits;
  const whole = createBudget(Math.floor(budgetBytes || Math.min(memoryBytes / 4, heapBytes / 2)));
  const part = (eighths: number, parent: Budget) =>
    createBudget(Math.floor((whole.maxBytes * eighths) / 8), { parent });
  // Whatever else is full, there is room for connections: health checks come on new ones.
  const rest = part(7, whole);
  const clients = part(3, rest);
  return {
    limitBytes: memoryBytes,
    whole,
    // Answers that browsers have not read are like streams that they have not read.
    requests: { connections: part(1, whole), bodies: part(2, rest), answers: clients, polls: part(7, rest) },
    events: part(1, rest),
    streams: { servers: part(7, rest), clients },
    answerTexts: createBudget(Math.min(Math.floor(whole.maxBytes / 16), MAX_TEXT_BYTES), { parent: clients }),
    received: createReceivedMemory(receivedMemoryBytes(limits)),
    // Texts may take two bytes for each character, and are compiled.
    flags: createBudget(Math.floor(Math.min(memoryBytes, heapBytes) / 3)),
  };
}

/** For `/status` and metrics. */
export function usageOf(memory: Memory): MemoryUsage {
  const { limitBytes, whole, requests, events, streams, answerTexts, received, flags } = memory;
  const parts: Readonly<Record<MemoryPart, Budget>> = {
    connections: requests.connections,
    bodies: requests.bodies,
    events,
    polls: requests.polls,
    serverStreams: streams.servers,
    clientStreams: streams.clients,
    answerTexts,
    received,
    flags,
  };
  const ofEach = (of: (part: Budget) => number) =>
    Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, of(part)])) as Record<MemoryPart, number>;
  const usedBytes = ofEach((part) => part.usedBytes);
  return {
    limitBytes,
    budgetBytes: whole.maxBytes,
    usedBytes: { ...usedBytes, clientStreams: usedBytes.clientStreams - usedBytes.answerTexts },
    maxBytes: ofEach(({ maxBytes }) => maxBytes),
  };
}
