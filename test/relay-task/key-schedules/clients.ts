/** Clients that ask relays all the time, by polls and by streams, with every credential that there ever was. */
import { setTimeout as delay } from 'node:timers/promises';
import { readStream, type StreamReader } from '../../support/read-stream.ts';
import type { Member } from './fleet.ts';
import { type Answer, objectionTo, whoseIn } from './oracle.ts';
import { type Credential, credentialsOf, type World } from './world.ts';

const context = Buffer.from('{"kind":"user","key":"u"}').toString('base64url');

const polls: Readonly<Record<Credential['kind'], (value: string) => readonly string[]>> = {
  sdkKey: () => ['/sdk/latest-all', '/sdk/flags', '/sdk/poll', '/sdk/flags/whose'],
  mobileKey: () => [`/msdk/evalx/contexts/${context}`, `/msdk/evalx/users/${context}`],
  environmentId: (value) => [`/sdk/evalx/${value}/contexts/${context}`],
};
const streams: Readonly<Record<Credential['kind'], (value: string) => readonly string[]>> = {
  sdkKey: () => ['/all', '/flags', '/sdk/stream'],
  mobileKey: () => [`/meval/${context}`],
  environmentId: (value) => [`/eval/${value}/${context}`],
};

export interface Clients {
  /** Answers that were judged so far. */
  readonly judged: number;
  /** What was wrong, each with the relay and the request. */
  readonly objections: readonly string[];
  /** Judges what streams have received so far, by what relays can have known until now. */
  judgeStreams(): void;
  /** Asks one relay once. */
  ask(member: Member, credential: Credential, path?: string): Promise<Answer | undefined>;
  /** Open streams of this relay with credentials that fit. */
  open(member: Member): readonly Credential[];
  stop(): Promise<void>;
}

interface OpenStream {
  readonly member: Member;
  readonly credential: Credential;
  readonly path: string;
  readonly reader: StreamReader;
  judged: number;
}

export function startClients(world: World, members: readonly Member[]): Clients {
  const open = new Set<OpenStream>();
  const objections: string[] = [];
  let judged = 0;
  let stopped = false;
  const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)]!;

  /** `oldest`: the oldest state that the relay could be at when it was asked. */
  function judge(member: Member, path: string, answer: Answer, oldest = member.knowledge.oldest): void {
    judged += 1;
    const { knowledge } = member;
    const { newest } = knowledge;
    const objection = objectionTo(world, { ...knowledge, oldest }, answer);
    if (objection === undefined) return;
    const told = { relay: member.number, path, ...answer, body: answer.body.slice(0, 300), oldest, newest };
    objections.push(`${objection}: ${JSON.stringify(told)}`);
  }

  async function ask(member: Member, credential: Credential, path = pick(polls[credential.kind](credential.value))) {
    const { relay } = member;
    if (!relay) return undefined;
    const { oldest } = member.knowledge;
    let answer: Answer;
    try {
      const response = await fetch(`${relay.uri}${path}`, { headers: { Authorization: credential.value } });
      const body = await response.text();
      answer = { credential, status: response.status, body, at: Date.now() };
    } catch {
      // It was closed meanwhile.
      return undefined;
    }
    // The next relay in its place may know less.
    if (member.relay === relay) judge(member, path, answer, oldest);
    return answer;
  }

  async function openOne(member: Member, credential: Credential): Promise<void> {
    const { relay } = member;
    if (!relay) return;
    const path = pick(streams[credential.kind](credential.value));
    const headers = { Authorization: credential.value };
    const { oldest } = member.knowledge;
    const reader = await readStream({ port: relay.port, path, headers }).catch(() => undefined);
    if (!reader) return;
    if (member.relay !== relay) return reader.close();
    if (reader.status !== 200) {
      judge(member, path, { credential, status: reader.status, body: '', at: Date.now() }, oldest);
      return reader.close();
    }
    const stream: OpenStream = { member, credential, path, reader, judged: 0 };
    open.add(stream);
    void reader.ended.then(() => {
      if (member.relay === relay) judgeStream(stream);
      open.delete(stream);
    });
  }

  function judgeStream(stream: OpenStream): void {
    const { reader, member, path, credential } = stream;
    for (const { data } of reader.events.slice(stream.judged)) {
      stream.judged += 1;
      if (whoseIn(data).length > 0) judge(member, path, { credential, status: 200, body: data, at: Date.now() });
    }
  }

  function judgeStreams(): void {
    for (const stream of open) judgeStream(stream);
  }

  /** Mostly what is named now, sometimes what was. */
  function anyCredential(): Credential {
    const present = world.folders.flatMap(credentialsOf);
    return Math.random() < 0.8 && present.length > 0 ? pick(present) : pick(world.credentials);
  }

  async function poll(member: Member): Promise<void> {
    while (!stopped) {
      await ask(member, anyCredential());
      await delay(10);
    }
  }

  async function stream(member: Member): Promise<void> {
    while (!stopped) {
      const own = [...open].filter((one) => one.member === member);
      if (own.length < 6) await openOne(member, anyCredential());
      else if (Math.random() < 0.1) own[0]?.reader.close();
      judgeStreams();
      await delay(20);
    }
  }

  const running = members.flatMap((member) => [poll(member), stream(member)]);
  return {
    get judged() {
      return judged;
    },
    objections,
    judgeStreams,
    ask,
    open: (member) => [...open].filter((one) => one.member === member).map(({ credential }) => credential),
    async stop() {
      stopped = true;
      await Promise.all(running);
      judgeStreams();
      for (const { reader } of open) reader.close();
    },
  };
}
