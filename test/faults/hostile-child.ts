/** Sends hostile requests from a process of its own. Arguments: one JSON of `HostileRun`; answers with `HostileOutcome`. */
import { connect } from 'node:net';
import { type Attack, HostileRequests } from './hostile.ts';
import type { HostileOutcome, HostileRun } from './hostile-run.ts';

const run = JSON.parse(process.argv[2] ?? '') as HostileRun;
const attacks = new HostileRequests(run.seed, run);
const outcome: HostileOutcome = {
  requests: 0,
  attacks: 0,
  statuses: {},
  closed: 0,
  refused: 0,
  kinds: {},
  failures: {},
};

const count = (counts: Record<string, number>, name: string) => {
  counts[name] = (counts[name] ?? 0) + 1;
};

/** Resolves when the connection is closed, by whomever. */
function carryOut(attack: Attack): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port: run.port, host: '127.0.0.1', allowHalfOpen: true });
    let answers = 0;
    let ours = false;
    const end = (how: 'destroy' | 'reset') => {
      ours = true;
      if (how === 'reset') socket.resetAndDestroy();
      else socket.destroy();
    };
    const finish = () => {
      if (attack.manner === 'half close') socket.end();
      setTimeout(() => end(attack.manner === 'reset' ? 'reset' : 'destroy'), attack.holdMs);
    };
    const write = async () => {
      for (const part of attack.parts) {
        if (socket.destroyed) return;
        // It is not waited until the relay has taken it: a client may send whether or not it is read.
        socket.write(part);
        if (attack.pauseMs > 0) await new Promise((next) => setTimeout(next, attack.pauseMs));
      }
      finish();
    };
    socket.on('connect', () => {
      if (attack.manner === 'never read') socket.pause();
      void write();
    });
    if (attack.manner !== 'never read') {
      socket.on('data', (bytes) => {
        for (const [, status = ''] of bytes.toString('latin1').matchAll(/HTTP\/1\.[01] (\d{3})/g)) {
          answers++;
          count(outcome.statuses, status);
          if (status === '500') count(outcome.failures, `${status} ${attack.name}`.slice(0, 120));
        }
        if (answers >= attack.requests && !attack.patient && attack.manner === 'hold')
          setTimeout(() => end('destroy'), 5);
      });
      socket.on('end', () => socket.destroy());
    }
    socket.on('error', () => {
      if (!ours && answers === 0 && socket.bytesWritten === 0) outcome.refused++;
    });
    socket.on('close', () => {
      if (!ours) outcome.closed++;
      resolve();
    });
  });
}

async function sender(): Promise<void> {
  while (outcome.requests < run.requests && performance.now() < run.mostMs) {
    const attack = attacks.next();
    outcome.requests += attack.requests;
    outcome.attacks++;
    count(outcome.kinds, attack.name.split(/[: ]/)[0] ?? '');
    await carryOut(attack);
  }
}

process.on('disconnect', () => process.exit(0));
// Told to stop: what was done so far.
process.on('message', () => process.send?.(outcome, () => process.exit(0)));
await Promise.all(Array.from({ length: run.atOnce }, sender));
process.send?.(outcome, () => process.exit(0));
