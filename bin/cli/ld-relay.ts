#!/usr/bin/env node
/** The command `ld-relay`, and `edge-flag-relay relay`. */
import { restartWithSmallSemiSpace } from './semi-space.ts';

restartWithSmallSemiSpace();
await import('../../relay-task/main.ts');
