/** With COSTS=1: writes which tests should be marked @heavy, with the processor time of this process and of the ones it started. */
const { readFileSync } = require('node:fs');
const { relative } = require('node:path');

const HEAVY_SECONDS = 0.1;
/** Linux: user and system time of children that have ended, in hundredths of a second. Elsewhere they are not counted. */
function childrenSeconds() {
  try {
    const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ');
    return (Number(fields[13]) + Number(fields[14])) / 100;
  } catch {
    return 0;
  }
}

let own;
let children;
beforeEach(() => {
  own = process.cpuUsage();
  children = childrenSeconds();
});
afterEach(() => {
  const { currentTestName, testPath } = expect.getState();
  const { user, system } = process.cpuUsage(own);
  const seconds = (user + system) / 1e6 + childrenSeconds() - children;
  if (seconds < HEAVY_SECONDS || currentTestName.endsWith('@heavy')) return;
  process.stderr.write(`heavy: ${seconds.toFixed(2)} s: ${relative(process.cwd(), testPath)}: ${currentTestName}\n`);
});
