import { createCipheriv, createDecipheriv, randomBytes, type ScryptOptions, scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';

/**
 * An encrypted and authenticated text: format (1 byte), salt (16), nonce (12), tag (16), then the gzipped text under
 * AES-256-GCM. The key is derived from the secret by scrypt, since a person may have chosen the secret. Format and salt
 * are authenticated, too.
 */
const FORMAT = 1;
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const NONCE_AT = 1 + SALT_BYTES;
const TAG_AT = NONCE_AT + NONCE_BYTES;
const DATA_AT = TAG_AT + TAG_BYTES;
const KEY_BYTES = 32;
/** RFC 7914: 16 MiB of memory, about 50 ms. */
const SCRYPT = { N: 16_384, r: 8, p: 1, maxmem: 32 * 1024 * 1024 };
const MAX_TEXT_BYTES = 64 * 1024 * 1024;

const derive = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt);
const zip = promisify<string, Buffer>(gzip);
const unzip = promisify(gunzip);

export function createSeal(secret: string) {
  const keys = new Map<string, Promise<Buffer>>();
  // scrypt is expensive, so one salt is reused per process (the one it read, if any); every text gets a fresh nonce.
  let ownSalt = randomBytes(SALT_BYTES);

  function keyFor(salt: Buffer): Promise<Buffer> {
    const name = salt.toString('hex');
    const known = keys.get(name);
    if (known) return known;
    const derived = derive(secret, salt, KEY_BYTES, SCRYPT);
    keys.set(name, derived);
    return derived;
  }

  return {
    async close(text: string): Promise<Uint8Array> {
      const salt = ownSalt;
      const head = Buffer.concat([Buffer.of(FORMAT), salt]);
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', await keyFor(salt), nonce).setAAD(head);
      const data = Buffer.concat([cipher.update(await zip(text)), cipher.final()]);
      return Buffer.concat([head, nonce, cipher.getAuthTag(), data]);
    },

    /** Rejects when the format or the secret is another one, or the bytes are damaged. */
    async open(sealed: Uint8Array): Promise<string> {
      const bytes = Buffer.from(sealed);
      if (bytes.length < DATA_AT) throw new Error('it is too short');
      if (bytes[0] !== FORMAT) throw new Error(`its format is ${bytes[0]}, not ${FORMAT}`);
      const key = await keyFor(bytes.subarray(1, NONCE_AT));
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(NONCE_AT, TAG_AT), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(bytes.subarray(0, NONCE_AT)).setAuthTag(bytes.subarray(TAG_AT, DATA_AT));
      let data: Buffer;
      try {
        data = Buffer.concat([decipher.update(bytes.subarray(DATA_AT)), decipher.final()]);
      } catch {
        throw new Error('it was sealed with another key, or is damaged');
      }
      ownSalt = Buffer.from(bytes.subarray(1, NONCE_AT));
      return (await unzip(data, { maxOutputLength: MAX_TEXT_BYTES })).toString();
    },
  };
}
