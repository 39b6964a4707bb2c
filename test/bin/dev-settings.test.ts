import { parseDevSettings } from '../../bin/dev-settings.ts';

function settingsOf(args: string[], environment: Record<string, string> = {}) {
  const result = parseDevSettings(args, environment);
  if ('problems' in result) throw new Error(result.problems.join('; '));
  return result.settings;
}

test('npm start without settings serves the example file to the three local credentials', () => {
  const { variables, ...rest } = settingsOf([]);
  expect(rest).toEqual({
    flagsFile: 'examples/flags.json',
    dynamoDBPort: 8000,
    edgePort: 8080,
    edgeFlag: 'canary-checkout',
    edgeFlagChosen: false,
    edgeRules: 'examples/rules.json',
    edgeReadsTable: true,
    environment: { name: 'local', prefix: 'local', fromFile: true },
  });
  expect(variables).toMatchObject({
    LD_ENV_local: 'sdk-local',
    LD_MOBILE_KEY_local: 'mob-local',
    LD_CLIENT_SIDE_ID_local: 'local',
    LD_FLAGS_FILE_local: 'examples/flags.json',
  });
});

test('EDGE_FLAG names a flag, or none; EDGE_TABLE takes the table away', () => {
  expect(settingsOf(['EDGE_FLAG=site'])).toMatchObject({ edgeFlag: 'site', edgeFlagChosen: true });
  expect(settingsOf(['EDGE_FLAG=none'])).toMatchObject({ edgeFlag: undefined, edgeFlagChosen: true });
  expect(settingsOf([], { EDGE_FLAG: ' ' })).toMatchObject({ edgeFlag: 'canary-checkout', edgeFlagChosen: false });
  expect(settingsOf(['EDGE_TABLE=off']).edgeReadsTable).toBe(false);
});

test('arguments of npm start override the environment', () => {
  const { edgePort, variables } = settingsOf(['EDGE_PORT=1', 'PORT=2'], { EDGE_PORT: '3', PORT: '4' });
  expect({ edgePort, port: variables.PORT }).toEqual({ edgePort: 1, port: '2' });
});

test('LD_SDK_KEY takes flags from LaunchDarkly instead of the file', () => {
  const { variables, environment } = settingsOf([], { LD_SDK_KEY: 'sdk-real' });
  expect(environment.fromFile).toBe(false);
  expect(variables.LD_ENV_local).toBe('sdk-real');
  expect(variables.LD_FLAGS_FILE_local).toBeUndefined();
  expect(variables.LD_SDK_KEY).toBeUndefined();
});

test("ld-relay's LD_ENV_<name> takes flags from LaunchDarkly under that name, and the edge reads the first", () => {
  const { variables, environment } = settingsOf([], { LD_ENV_Production: 'sdk-p', LD_ENV_Staging: 'sdk-s' });
  expect(environment).toEqual({ name: 'Production', prefix: 'Production', fromFile: false });
  expect(variables.LD_ENV_local).toBeUndefined();
  expect(variables.LD_PREFIX_Staging).toBe('Staging');
});

test('all problems of the settings are reported at once', () => {
  const result = parseDevSettings(['--port', 'EGDE_PORT=1', 'EDGE_PORT=x'], { DYNAMODB_PORT: '-1' });
  expect('problems' in result && result.problems).toEqual([
    'Unknown argument --port. Pass settings as NAME=value, e.g. PORT=8031; list: docs/configuration.md',
    expect.stringMatching(/^Unknown setting EGDE_PORT\. Known settings: FLAGS_FILE, /),
    'DYNAMODB_PORT=-1 is invalid: expected an integer from 0 to 65535',
    'EDGE_PORT=x is invalid: expected an integer from 0 to 65535',
  ]);
});
