/** Requests to Consul's KV store, and transactions: https://developer.hashicorp.com/consul/api-docs/txn */
import { elementsIn } from '../common/json-elements.ts';
import { parseInSlices } from '../common/sliced-json.ts';
import { inSlices } from '../common/slices.ts';
import { type ConsulClient, kvPath } from './consul-client.ts';

export interface KvPair {
  readonly Key: string;
  /** Base64; null when empty. */
  readonly Value: string | null;
  readonly ModifyIndex: number;
}

export type Operation =
  | { readonly Verb: 'cas'; readonly Key: string; readonly Value: string; readonly Index: number }
  | { readonly Verb: 'delete-cas'; readonly Key: string; readonly Index: number }
  | { readonly Verb: 'check-not-exists'; readonly Key: string }
  /** Fails when there is no such key. */
  | { readonly Verb: 'get'; readonly Key: string }
  | { readonly Verb: 'set'; readonly Key: string; readonly Value: string };

interface TxnAnswer {
  readonly Results?: readonly { readonly KV?: KvPair }[] | null;
  readonly Errors?: readonly { readonly OpIndex: number; readonly What: string }[] | null;
}

export async function transact(client: ConsulClient, operations: readonly Operation[]): Promise<TxnAnswer> {
  const { body } = await client.request('PUT', '/txn', JSON.stringify(operations.map((KV) => ({ KV }))));
  return JSON.parse(body.toString()) as TxnAnswer;
}

export async function getPair(client: ConsulClient, key: string): Promise<KvPair | undefined> {
  const { status, body } = await client.request('GET', `${kvPath(key)}?consistent`);
  return status === 200 ? parsePairs(body)[0] : undefined;
}

/**
 * Everything below a folder, and the folder itself if it is a key, too. `read` gets one pair after the other, in slices of the event loop:
 * a folder may have a hundred MB. What it throws ends the reading.
 */
export async function readFolder(client: ConsulClient, folder: string, read: (pair: KvPair) => void): Promise<void> {
  const { status, body } = await client.request('GET', `${kvPath(folder)}?recurse&consistent`);
  if (status === 200) await inSlices(readPairs(body, read));
}

function* readPairs(body: Buffer, read: (pair: KvPair) => void): Generator<void, void> {
  const elements = elementsIn(body);
  for (;;) {
    const { done, value } = elements.next();
    if (done && !value) throw new SyntaxError('Consul answered with something other than a list');
    if (done) return;
    if (value) read(JSON.parse(body.toString('utf8', value.from, value.to)) as KvPair);
    yield;
  }
}

/** The keys below a folder, with its name. */
export async function listKeys(client: ConsulClient, folder: string, query = ''): Promise<string[]> {
  const { status, body } = await client.request('GET', `${kvPath(folder)}?keys${query}&consistent`);
  return status === 200 ? ((await inSlices(parseInSlices(body))) as string[]) : [];
}

/** What is directly below a folder: keys, and folders with their slash. */
export async function listBelow(client: ConsulClient, folder: string): Promise<Set<string>> {
  const keys = await listKeys(client, folder, '&separator=/');
  return new Set(keys.map((key) => key.slice(folder.length)));
}

export function textOf({ Value }: KvPair): string {
  return Buffer.from(Value ?? '', 'base64').toString();
}

function parsePairs(body: Buffer): KvPair[] {
  return JSON.parse(body.toString()) as KvPair[];
}
