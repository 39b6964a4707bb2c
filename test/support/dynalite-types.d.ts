declare module 'dynalite' {
  import type { Server } from 'node:http';

  /** Only the options that the tests use. */
  function dynalite(options?: { createTableMs?: number; deleteTableMs?: number; updateTableMs?: number }): Server;
  export = dynalite;
}
