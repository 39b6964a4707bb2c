/** Loaded into a process before its program: the parent steps its clock by a message, and it ends with its parent. */
const RealDate = Date;
let stepMs = 0;

globalThis.Date = class extends RealDate {
  constructor(...given) {
    if (given.length === 0) super(RealDate.now() + stepMs);
    else super(...given);
  }
  static now() {
    return RealDate.now() + stepMs;
  }
};

process.on('message', (message) => {
  stepMs = message.stepMs;
});
process.on('disconnect', () => process.exit(1));
