#!/usr/bin/env node
/** The command `edge-flag-relay` of the installed package. A clone has npm scripts instead. */
import { runCli } from './cli/run.ts';

await runCli();
