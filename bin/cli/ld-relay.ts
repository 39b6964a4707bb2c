#!/usr/bin/env node
/** The command `ld-relay` of the installed package. */
import { restartWithSmallSemiSpace } from './semi-space.ts';

restartWithSmallSemiSpace();
await import('../../relay-task/main.ts');
