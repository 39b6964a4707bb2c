/** When the evaluations of a request have their turn. */
import type { Socket } from 'node:net';
import { begunLanes, type EvaluationLine, type EvaluationPlace, evaluationLanes } from '../common/evaluation-lines.ts';
import type { FairTurns } from '../common/fair-turns.ts';
import { Refusal, retryLater } from './reply.ts';

interface Evaluating {
  readonly environment: string;
  readonly address: string;
  readonly socket: Socket;
}

/** Runs evaluations of one request when it is their turn: in the line of its kind of credential, and then among the turns of its kind. */
export function evaluatingIn(line: EvaluationLine, turns: FairTurns, { environment, address, socket }: Evaluating) {
  return async <T>(job: (pause: () => Promise<void>) => Promise<T>): Promise<T> => {
    const lanes = evaluationLanes(environment, address);
    if (!line.fits(lanes)) throw new Refusal(503, 'too many evaluations are waiting', retryLater());
    const place = await turnOf<EvaluationPlace>((begin) => line.enter(lanes, begin), socket);
    const begin = async () => {
      await turns.await(begunLanes(environment, place));
      if (socket.destroyed) throw hasLeft();
      return performance.now();
    };
    try {
      let begunAt = await begin();
      return await job(async () => {
        const wait = place.after(performance.now() - begunAt);
        if (wait) await turnOf<void>(wait, socket);
        begunAt = await begin();
      });
    } finally {
      place.leave();
    }
  };
}

/** Resolves when its turn has come. Rejects with Refusal if the client leaves before. */
function turnOf<T>(enter: (begin: (turn: T) => void) => () => void, socket: Socket): Promise<T> {
  return new Promise((resolve, reject) => {
    if (socket.destroyed) return reject(hasLeft());
    const gone = () => {
      giveUp();
      reject(hasLeft());
    };
    socket.once('close', gone);
    const giveUp = enter((turn) => {
      socket.off('close', gone);
      resolve(turn);
    });
  });
}

/** For the metrics; nobody gets this answer. */
function hasLeft(): Refusal {
  return new Refusal(CLIENT_LEFT, 'the client has left');
}

/** As others count it; HTTP has no status for this. */
const CLIENT_LEFT = 499;
