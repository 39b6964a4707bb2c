/** The code comes from the layer, its types from the package, which is only needed to compile. */
declare module 'edge-flag-reader' {
  export * from 'edge-flag-relay/edge-reader';
}
