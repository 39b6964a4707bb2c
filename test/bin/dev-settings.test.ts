import { devSettings, parseDevSettings, usage } from '../../bin/dev-settings.ts';

function settingsOf(args: string[], environment: Record<string, string> = {}) {
  const result = parseDevSettings(args, environment);
  if (!('settings' in result)) throw new Error(JSON.stringify(result));
  return result.settings;
}

test('npm start without settings serves the example file to the three local credentials', () => {
  const { variables, ...rest } = settingsOf([]);
  expect(rest).toEqual({
    flagsFile: 'examples/flags.json',
    dynamoDBPort: 8000,
    edgePort: 8080,
    isExample: true,
    edgeFlag: undefined,
    edgeRules: 'examples/rules.json',
    edgeReadsTable: true,
    warnings: [],
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
  expect(settingsOf(['EDGE_FLAG=site']).edgeFlag).toBe('site');
  expect(settingsOf(['EDGE_FLAG=none']).edgeFlag).toBe('none');
  expect(settingsOf([], { EDGE_FLAG: ' ' }).edgeFlag).toBeUndefined();
  expect(settingsOf(['EDGE_TABLE=off']).edgeReadsTable).toBe(false);
});

test("only the example's flags have the example's rules", () => {
  expect(settingsOf(['FLAGS_FILE=mine.yaml'])).toMatchObject({ isExample: false, edgeRules: undefined });
  expect(settingsOf([], { LD_SDK_KEY: 'sdk-real' })).toMatchObject({ isExample: false, edgeRules: undefined });
  expect(settingsOf(['FLAGS_FILE=mine.yaml', 'EDGE_RULES=r.json']).edgeRules).toBe('r.json');
  expect(settingsOf([], { FLAGS_FILE: ' ' }).isExample).toBe(true);
});

test('--help is a request for help, whatever else is there', () => {
  for (const word of ['--help', '-h', 'help']) expect(parseDevSettings(['PORT=x', word], {})).toEqual({ help: true });
  for (const { env } of Object.values(devSettings)) expect(usage).toContain(env);
});

test('a variable that looks like a setting of npm start is named in a warning', () => {
  const { warnings } = settingsOf([], {
    EDGE_FLG: 'x',
    FLAG_FILE: 'y',
    EDGE_PORTS: '1',
    EDGE_PORT: '2',
    EDGE_HOST: 'h',
  });
  expect(warnings).toEqual([
    'EDGE_FLG has no effect: no such setting; did you mean EDGE_FLAG?',
    'FLAG_FILE has no effect: no such setting; did you mean FLAGS_FILE?',
  ]);
  // Of the relay's own settings, the relay warns.
  expect(settingsOf([], { AUTO_CONFIG_KY: 'x' }).warnings).toEqual([]);
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
  const args = ['--port', 'EGDE_PORT=1', 'LD_EVN_x=1', 'NOTHING=1', 'EDGE_PORT=x'];
  const result = parseDevSettings(args, { DYNAMODB_PORT: '-1' });
  expect('problems' in result && result.problems).toEqual([
    'Unknown argument --port. Pass settings as NAME=value, e.g. PORT=8031; npm start -- --help lists the settings',
    'Unknown setting EGDE_PORT: did you mean EDGE_PORT?',
    'Unknown setting LD_EVN_x: did you mean LD_ENV_x?',
    'Unknown setting NOTHING; npm start -- --help lists the settings',
    'DYNAMODB_PORT=-1 is invalid: expected an integer from 0 to 65535',
    'EDGE_PORT=x is invalid: expected an integer from 0 to 65535',
  ]);
});
