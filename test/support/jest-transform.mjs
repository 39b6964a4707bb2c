/**
 * swc, and module exports that V8 reads fast. Jest evaluates a module once per test file in the same process, and swc exports
 * through getters. From the second evaluation on, V8 takes the object with the same names and other getters for a dictionary:
 * every use of an import becomes a look-up and a call that is never inlined, which makes hot loops ten times slower. An object
 * that is a prototype has a shape of its own and stays fast.
 */
import swc from '@swc/jest';

export default {
  createTransformer(options) {
    const transformer = swc.createTransformer(options);
    return {
      ...transformer,
      process(...args) {
        const result = transformer.process(...args);
        return { ...result, code: `${result.code}\nObject.create(exports);` };
      },
    };
  },
};
