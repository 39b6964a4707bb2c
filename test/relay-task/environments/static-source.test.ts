import { startStaticSource } from '../../../relay-task/environments/static-source.ts';
import type { EnvironmentDescription } from '../../../relay-task/ports.ts';

test('the static source delivers its configuration once and before anything else happens', async () => {
  const lists: (readonly EnvironmentDescription[])[] = [];
  const environment: EnvironmentDescription = {
    ...{ id: 'production', name: 'production', sdkKey: 'sdk-1', credentials: [{ kind: 'sdkKey', value: 'sdk-1' }] },
    ...{ filters: [], secureMode: false, ttlMs: 0, prefix: '', allowedOrigins: [], allowedHeaders: [] },
  };
  const source = startStaticSource({
    environments: [environment],
    sink: { replace: (environments) => void lists.push(environments) },
  });
  expect(lists).toEqual([[environment]]);
  expect(source.status()).toMatchObject({ kind: 'configuration', state: 'VALID' });
  await source.close();
  expect(lists).toHaveLength(1);
});
