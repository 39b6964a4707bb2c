/** Percentages of viewers, through the viewer-request function: their size, LaunchDarkly's answers, and what a larger share changes. */
import { createOfflineReader } from '../../../lambda/edge-reader/index.ts';
import { createViewerRequestHandler } from '../../../lambda/edge-router/index.ts';
import { type OfficialSdk, startOfficialSdk } from '../../lib/evaluation/official-sdk.ts';
import { requestEvent } from './events.ts';

const VIEWERS = process.env.LONG ? 1_000_000 : 10_000;
const COMPARED = process.env.LONG ? 100_000 : 2_000;

let sdk: OfficialSdk;
beforeAll(async () => {
  sdk = await startOfficialSdk();
});
afterAll(() => sdk.close());

/** `weight`: of the canary, in thousandths of a percent. */
const flagOf = (weight: number) => ({
  key: 'checkout',
  version: 1,
  on: true,
  salt: 'c2FsdA',
  variations: ['stable', 'canary'],
  offVariation: 0,
  fallthrough: {
    rollout: {
      variations: [
        { variation: 0, weight: 100_000 - weight },
        { variation: 1, weight },
      ],
    },
  },
});

/** The id in a viewer's cookie. */
const idOf = (index: number) => `00000000-0000-4000-8000-${index.toString(16).padStart(12, '0')}`;

function routerOf(weight: number) {
  const handler = createViewerRequestHandler(
    {
      reader: { tableName: 'flags', replicas: { default: ['eu-west-1'] } },
      flagKey: 'checkout',
      variants: ['stable', 'canary'],
      defaultVariant: 'stable',
    },
    createOfflineReader({ flags: { checkout: flagOf(weight) } }),
  );
  return async (index: number) => {
    const { headers } = await handler(requestEvent('viewer-request', { Cookie: `flag-viewer=${idOf(index)}` }));
    return headers['x-flag-variant']![0]!.value;
  };
}

/** Which of the viewers get the canary: 1 for each. */
async function canaries(weight: number): Promise<Uint8Array> {
  const variantOf = routerOf(weight);
  const found = new Uint8Array(VIEWERS);
  for (let index = 0; index < VIEWERS; index++) if ((await variantOf(index)) === 'canary') found[index] = 1;
  return found;
}

const count = (found: Uint8Array) => found.reduce((sum, one) => sum + one, 0);

/** Five standard deviations of a binomial distribution: one in 1.7 million fair draws is further away. */
function expectShare(found: Uint8Array, share: number) {
  const deviation = Math.sqrt(VIEWERS * share * (1 - share));
  expect(Math.abs(count(found) - VIEWERS * share)).toBeLessThan(5 * deviation);
}

test.each([0.1, 1, 10, 50])(
  '%d %% of viewers get the canary, those to whom the Node SDK gives it @heavy',
  async (percent) => {
    const found = await canaries(percent * 1_000);
    expectShare(found, percent / 100);
    sdk.load(JSON.stringify({ flags: { checkout: flagOf(percent * 1_000) }, segments: {} }), undefined);
    const different: string[] = [];
    const step = VIEWERS / COMPARED;
    for (let index = 0; index < VIEWERS; index += step) {
      const context = { kind: 'user', key: idOf(index), anonymous: true };
      const theirs = await sdk.call((client) => client.variation('checkout', context, 'none'));
      if (theirs.kind !== 'answered' || theirs.answer !== (found[index] ? 'canary' : 'stable'))
        different.push(idOf(index));
    }
    expect(different).toEqual([]);
  },
);

test('a share that grows from 10 to 20 % takes nobody out', async () => {
  const [ten, twenty] = [await canaries(10_000), await canaries(20_000)];
  expectShare(twenty, 0.2);
  const out = ten.filter((one, index) => one === 1 && twenty[index] === 0);
  expect(out).toHaveLength(0);
});
