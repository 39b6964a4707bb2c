/** The part of yazl that is used here; the package ships no types. */
declare module 'yazl' {
  export class ZipFile {
    readonly outputStream: NodeJS.ReadableStream & AsyncIterable<Buffer>;
    addBuffer(
      bytes: Buffer,
      path: string,
      options: { mtime: Date; mode: number; compressionLevel: number; forceDosTimestamp: boolean },
    ): void;
    end(): void;
  }
}
