/**
 * Jest's runtime, which evaluates every module once per test file, without three costs of doing so many times in one process.
 * It reaches into two methods of Jest, whose version is pinned.
 */
const { setFlagsFromString } = require('node:v8');
const { Script } = require('node:vm');
const { default: Runtime } = require('jest-runtime');

/**
 * Optimised code belongs to one evaluation of a module, so what a test file uses a few times is not worth optimising: V8 waits
 * four times as long. Newer versions of V8 count otherwise, and have no such flag.
 */
if (process.versions.v8.startsWith('11.')) setFlagsFromString('--interrupt-budget=600000');

/** Of this worker process, by file name and text: V8 shares the code of a script between contexts, but not of a function. */
const scripts = new Map();

class SharedCodeRuntime extends Runtime {
  constructor(...args) {
    super(...args);
    const { executor } = this;
    const head = `(function(${executor.injectedModuleParameters.join(',')}){`;
    executor.compile = (source, filename) => {
      const context = executor.environment.getVmContext();
      if (context === null) return null;
      return compiled(head, source, filename).runInContext(context);
    };
    const exec = executor.exec.bind(executor);
    executor.exec = (module, ...rest) => {
      const status = exec(module, ...rest);
      keepFast(module.exports);
      return status;
    };
  }
}

function compiled(head, source, filename) {
  const known = scripts.get(filename);
  if (known?.source === source && known.head === head) return known.script;
  const script = new Script(`${head}${source}\n})`, { filename, columnOffset: -head.length });
  scripts.set(filename, { head, source, script });
  return script;
}

/**
 * Exports are getters. From the second evaluation of a module on, V8 takes an object with the same names and other getters for
 * a dictionary: every use of an import becomes a look-up and a call that is never inlined, which makes hot loops ten times
 * slower. An object that is a prototype has a shape of its own and stays fast.
 */
function keepFast(exports) {
  if (exports?.__esModule) Object.create(exports);
}

module.exports = { __esModule: true, default: SharedCodeRuntime };
