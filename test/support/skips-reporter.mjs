const HEAVY = 'tests that take much processor time; `TESTS= npm test` runs them, too';

/**
 * Names what was skipped, with the reason in its title, and ends with one plain line of counts.
 * A skipped suite is named once, by its title, which says what it needs; tests that `npm test` leaves out are counted together.
 */
export default class SkipsReporter {
  /** @param {{ testNamePattern?: string }} globalConfig */
  constructor({ testNamePattern = '' }) {
    this.leavesOutHeavy = testNamePattern.includes('@heavy');
  }

  onRunComplete(_contexts, results) {
    const skipped = new Map();
    for (const file of results.testResults) {
      for (const { status, ancestorTitles, title } of file.testResults) {
        if (status !== 'pending' && status !== 'todo') continue;
        const name = this.leavesOutHeavy && title.endsWith('@heavy') ? HEAVY : (ancestorTitles[0] ?? title);
        skipped.set(name, (skipped.get(name) ?? 0) + 1);
      }
    }
    for (const [name, count] of skipped) console.log(`skipped: ${name} (${count})`);
    const failedToRun = results.numRuntimeErrorTestSuites;
    console.log(
      `${results.numPassedTests} passed, ${results.numFailedTests + failedToRun} failed, ${results.numPendingTests + results.numTodoTests} skipped`,
    );
  }
}
