/** Requests to Consul's KV store, and transactions: https://developer.hashicorp.com/consul/api-docs/txn */
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

/** Everything below a folder, and the folder itself if it is a key, too. */
export async function getFolder(client: ConsulClient, folder: string): Promise<KvPair[]> {
  const { status, body } = await client.request('GET', `${kvPath(folder)}?recurse&consistent`);
  return status === 200 ? parsePairs(body) : [];
}

/** The keys below a folder, with its name. */
export async function listKeys(client: ConsulClient, folder: string, query = ''): Promise<string[]> {
  const { status, body } = await client.request('GET', `${kvPath(folder)}?keys${query}&consistent`);
  return status === 200 ? (JSON.parse(body.toString()) as string[]) : [];
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
