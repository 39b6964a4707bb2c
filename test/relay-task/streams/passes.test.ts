import type { Socket } from 'node:net';
import { type Channel, Connection, Subject } from '../../../relay-task/streams/connection.ts';
import { createPasses } from '../../../relay-task/streams/passes.ts';
import { until } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';

const wanted = { audience: 'environmentId', withReasons: false } as const;

function subjectOf(name: string, address: string): Subject {
  const context = { id: name, bytes: 0, read: () => ({ kinds: ['user'] }) };
  const opening = {
    kind: 'eval',
    context,
    withReasons: false,
    credential: 'k',
    credentialKind: 'environmentId',
  } as const;
  const common = { family: 'x', address, httpVersion: '1.1' };
  const subject = new Subject(name, context, wanted);
  const channel = { environment: 'e' } as Channel;
  subject.connections.push(new Connection({} as Socket, channel, 'k', { ...opening, ...common }, 0));
  return subject;
}

test('addresses take turns where the order is theirs', async () => {
  const subjects = [
    ...['a1', 'a2', 'a3', 'a4'].map((name) => subjectOf(name, '10.0.0.1')),
    subjectOf('b1', '10.0.0.2'),
    subjectOf('c1', '10.0.0.3'),
  ];
  const visited: string[] = [];
  let isOver = false;
  const passes = createPasses({
    subjects,
    order: 'by address',
    affected: () => ({ flagKeys: ['f'], bigSegments: false }),
    ready: () => undefined,
    prepare: () => undefined,
    *visit({ id }) {
      visited.push(id);
      yield;
    },
    failed: (_subjects, error) => {
      throw error;
    },
    paused: () => {},
    finished: () => {
      isOver = true;
    },
  });
  passes.publish({ generation: 1, kind: 'patch', items: [flag('f', 1)], receivedAt: 0 });
  await until('all are visited', () => isOver);
  expect(visited.map((name) => name[0]).join('')).toMatch(/^(abc|acb|bac|bca|cab|cba)aaa$/);
  expect([...visited].sort()).toEqual(['a1', 'a2', 'a3', 'a4', 'b1', 'c1']);
});
