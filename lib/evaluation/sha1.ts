/**
 * SHA-1 (RFC 3174) of a short string, limited to the bits that bucketing needs. Once the engine has compiled it, it is
 * faster than the platform's; for the first few hundred calls it is many times slower. So it suits long-lived processes:
 * the relay, not an edge function.
 */
const words = new Int32Array(80);
const state = new Int32Array(5);

/** The bucket of `prefix` and `value`, concatenated in UTF-8, on [0, 1]: the first 60 bits of their hash, divided by 2^60. */
export function sha1Bucket(prefix: string, value: string): number {
  hash(prefix, value);
  return (high() * 2 ** 28 + low()) / 2 ** 60;
}

/** The same, rounded to 32 bits of floating point, once. */
export function sha1BucketFloat32(prefix: string, value: string): number {
  hash(prefix, value);
  // The first word has more bits than the result, so of the others it only matters whether there are any. If it begins with
  // zeros, all 60 bits fit into a double.
  const bits = high() < 2 ** 24 ? high() * 2 ** 28 + low() : (high() + (low() && 0.5)) * 2 ** 28;
  return Math.fround(bits / 2 ** 60);
}

/** The first 32 bits of the hash. */
function high(): number {
  return state[0]! >>> 0;
}

/** The following 28 bits. */
function low(): number {
  return state[1]! >>> 4;
}

function hash(prefix: string, value: string): void {
  if (!hashBytes(prefix, value, 127)) hashBytes(toBytes(prefix), toBytes(value), 255);
}

/** False if a character code is above `most`. */
function hashBytes(prefix: string, value: string, most: number): boolean {
  state[0] = 0x67452301;
  state[1] = 0xefcdab89;
  state[2] = 0x98badcfe;
  state[3] = 0x10325476;
  state[4] = 0xc3d2e1f0;
  const split = prefix.length;
  const length = split + value.length;
  let word = 0;
  let filled = 0;
  for (let at = 0; at < length; at++) {
    const code = at < split ? prefix.charCodeAt(at) : value.charCodeAt(at - split);
    if (code > most) return false;
    word = (word << 8) | code;
    if ((at & 3) < 3) continue;
    words[filled++] = word;
    if (filled < 16) continue;
    addBlock();
    filled = 0;
  }
  // Padding: a one bit after the last byte, zeros, and the length in bits at the end of the block.
  words[filled++] = ((word << 8) | 0x80) << (8 * (3 - (length & 3)));
  if (filled > 14) {
    words.fill(0, filled, 16);
    addBlock();
    filled = 0;
  }
  words.fill(0, filled, 15);
  words[15] = length * 8;
  addBlock();
  return true;
}

/** Adds a block of 16 words to the state. Unrolled to five rounds per iteration, so that no variable has to be moved. */
function addBlock(): void {
  const w = words;
  for (let i = 16; i < 80; i++) {
    const x = w[i - 3]! ^ w[i - 8]! ^ w[i - 14]! ^ w[i - 16]!;
    w[i] = (x << 1) | (x >>> 31);
  }
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  let e = state[4]!;
  let i = 0;
  for (; i < 20; i += 5) {
    e = (e + ((a << 5) | (a >>> 27)) + (d ^ (b & (c ^ d))) + w[i]! + 0x5a827999) | 0;
    b = (b << 30) | (b >>> 2);
    d = (d + ((e << 5) | (e >>> 27)) + (c ^ (a & (b ^ c))) + w[i + 1]! + 0x5a827999) | 0;
    a = (a << 30) | (a >>> 2);
    c = (c + ((d << 5) | (d >>> 27)) + (b ^ (e & (a ^ b))) + w[i + 2]! + 0x5a827999) | 0;
    e = (e << 30) | (e >>> 2);
    b = (b + ((c << 5) | (c >>> 27)) + (a ^ (d & (e ^ a))) + w[i + 3]! + 0x5a827999) | 0;
    d = (d << 30) | (d >>> 2);
    a = (a + ((b << 5) | (b >>> 27)) + (e ^ (c & (d ^ e))) + w[i + 4]! + 0x5a827999) | 0;
    c = (c << 30) | (c >>> 2);
  }
  for (; i < 40; i += 5) {
    e = (e + ((a << 5) | (a >>> 27)) + (b ^ c ^ d) + w[i]! + 0x6ed9eba1) | 0;
    b = (b << 30) | (b >>> 2);
    d = (d + ((e << 5) | (e >>> 27)) + (a ^ b ^ c) + w[i + 1]! + 0x6ed9eba1) | 0;
    a = (a << 30) | (a >>> 2);
    c = (c + ((d << 5) | (d >>> 27)) + (e ^ a ^ b) + w[i + 2]! + 0x6ed9eba1) | 0;
    e = (e << 30) | (e >>> 2);
    b = (b + ((c << 5) | (c >>> 27)) + (d ^ e ^ a) + w[i + 3]! + 0x6ed9eba1) | 0;
    d = (d << 30) | (d >>> 2);
    a = (a + ((b << 5) | (b >>> 27)) + (c ^ d ^ e) + w[i + 4]! + 0x6ed9eba1) | 0;
    c = (c << 30) | (c >>> 2);
  }
  for (; i < 60; i += 5) {
    e = (e + ((a << 5) | (a >>> 27)) + ((b & c) | (d & (b | c))) + w[i]! + 0x8f1bbcdc) | 0;
    b = (b << 30) | (b >>> 2);
    d = (d + ((e << 5) | (e >>> 27)) + ((a & b) | (c & (a | b))) + w[i + 1]! + 0x8f1bbcdc) | 0;
    a = (a << 30) | (a >>> 2);
    c = (c + ((d << 5) | (d >>> 27)) + ((e & a) | (b & (e | a))) + w[i + 2]! + 0x8f1bbcdc) | 0;
    e = (e << 30) | (e >>> 2);
    b = (b + ((c << 5) | (c >>> 27)) + ((d & e) | (a & (d | e))) + w[i + 3]! + 0x8f1bbcdc) | 0;
    d = (d << 30) | (d >>> 2);
    a = (a + ((b << 5) | (b >>> 27)) + ((c & d) | (e & (c | d))) + w[i + 4]! + 0x8f1bbcdc) | 0;
    c = (c << 30) | (c >>> 2);
  }
  for (; i < 80; i += 5) {
    e = (e + ((a << 5) | (a >>> 27)) + (b ^ c ^ d) + w[i]! + 0xca62c1d6) | 0;
    b = (b << 30) | (b >>> 2);
    d = (d + ((e << 5) | (e >>> 27)) + (a ^ b ^ c) + w[i + 1]! + 0xca62c1d6) | 0;
    a = (a << 30) | (a >>> 2);
    c = (c + ((d << 5) | (d >>> 27)) + (e ^ a ^ b) + w[i + 2]! + 0xca62c1d6) | 0;
    e = (e << 30) | (e >>> 2);
    b = (b + ((c << 5) | (c >>> 27)) + (d ^ e ^ a) + w[i + 3]! + 0xca62c1d6) | 0;
    d = (d << 30) | (d >>> 2);
    a = (a + ((b << 5) | (b >>> 27)) + (c ^ d ^ e) + w[i + 4]! + 0xca62c1d6) | 0;
    c = (c << 30) | (c >>> 2);
  }
  state[0] = state[0]! + a;
  state[1] = state[1]! + b;
  state[2] = state[2]! + c;
  state[3] = state[3]! + d;
  state[4] = state[4]! + e;
}

/** UTF-8, with each byte as one character. A lone surrogate becomes U+FFFD, as in every platform's encoder. */
function toBytes(text: string): string {
  let bytes = '';
  for (const character of text) {
    let code = character.codePointAt(0)!;
    if (code >= 0xd800 && code < 0xe000) code = 0xfffd;
    if (code < 0x80) bytes += character;
    else if (code < 0x800) bytes += String.fromCharCode(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) {
      bytes += String.fromCharCode(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    } else {
      const [first, second] = [0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63)];
      bytes += String.fromCharCode(first, second, 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    }
  }
  return bytes;
}
