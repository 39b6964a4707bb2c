import { createShares } from '../../../relay-task/common/shares.ts';
import { randomFrom } from '../../support/random.ts';

test('there is room for as many as fit one by one', () => {
  const random = randomFrom('shares');
  for (let round = 0; round < 200; round++) {
    const most = Math.floor(random() * 50) / (random() < 0.5 ? 1 : 4);
    const times = [1, 4, [4, 3], [1, 0.5]][Math.floor(random() * 4)]!;
    const shares = createShares((taken) => most - taken, times);
    for (let taken = 0; taken < 20; taken++) {
      const lane = String(Math.floor(random() * 4));
      if (shares.fits([lane])) shares.take([lane]);
    }
    const room = shares.room(['1', '2']);
    let fitted = 0;
    for (; shares.fits(['1', '2']); fitted++) shares.take(['1', '2']);
    expect(room).toBe(fitted);
  }
});
