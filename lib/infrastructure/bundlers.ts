/** The packages that build functions from sources. They are loaded when something is built: who uses the published package needs none for our functions. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type * as Swc from '@swc/core';
import type * as Esbuild from 'esbuild';

const load = createRequire(join(import.meta.dirname, 'bundlers.js'));

export const esbuild = (): typeof Esbuild => needed('esbuild');
export const swc = (): typeof Swc => needed('@swc/core');

function needed<Module>(name: string): Module {
  try {
    load.resolve(name);
  } catch {
    throw new Error(
      `The package ${name} is not installed. It bundles your own edge functions: npm install --save-dev ${name}`,
    );
  }
  return load(name);
}
