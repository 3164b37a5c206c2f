/**
 * DNS cookies (RFC 7873) made as RFC 9018 says, so that servers that share a secret, of whatever
 * make, accept each other's. A server cookie proves that its bearer receives what is sent to its
 * address.
 *
 *   0                8         9          12          16             24
 *   +----------------+---------+----------+-----------+--------------+
 *   | client's half  | version | reserved | timestamp | hash         |
 *   | 8              | 1: 1    | 3: 0     | 4         | 8            |
 *   +----------------+---------+----------+-----------+--------------+
 *   hash = SipHash-2-4(secret, everything before it | the client's address, 4 or 16 bytes)
 *
 * The timestamp is in seconds and compared by serial arithmetic (RFC 1982): it may wrap.
 */
import { CLIENT_COOKIE_BYTES, COOKIE_BYTES } from '../codecs/dns/constants.ts';
import { copyBytes } from '../codecs/dns/wire.ts';
import { MAC_BYTES, mac } from '../codecs/mac/mac.ts';
import { SIPHASH_BYTES, SIPHASH_KEY_BYTES, siphash } from '../codecs/mac/siphash.ts';

export const COOKIE_SECRET_BYTES = SIPHASH_KEY_BYTES;
/** A cookie is valid for so long (RFC 9018 4.3). */
export const COOKIE_VALID_SECONDS = 3600;
/** How far ahead another server's clock may be (RFC 9018 4.3). */
export const COOKIE_AHEAD_SECONDS = 300;
/** A cookie older than this is answered with a new one (RFC 9018 4.3). */
export const COOKIE_RENEW_SECONDS = 1800;
const VERSION = 1;
const TIMESTAMP = 12;
/** What is hashed before the address. */
const HEAD_BYTES = COOKIE_BYTES - SIPHASH_BYTES;
/** Offset of an IPv4 address in its v4-mapped form. */
const MAPPED_BYTES = 12;
const SECRET_LABEL = new TextEncoder().encode('waypost dns cookie');

/**
 * Makes and checks the cookies of one lane. `read` takes a query's cookie, `write` gives the
 * answer's.
 */
export class Cookies {
  readonly #active: Uint8Array;
  readonly #previous: Uint8Array | null;
  /** Heads with room for an address behind: on the heap, or sodium-native cannot read them. */
  readonly #input4 = new Uint8Array(HEAD_BYTES + 4);
  readonly #input6 = new Uint8Array(HEAD_BYTES + 16);
  #input = this.#input4;
  readonly #hash = new Uint8Array(SIPHASH_BYTES);
  /** The hash that came with the query. */
  readonly #received = new Uint8Array(SIPHASH_BYTES);
  /** Whether the query's server cookie is good enough to be given back. */
  #isFresh = false;
  #nowSeconds = 0;

  /**
   * `active` makes cookies; both secrets are accepted, so that one can be replaced (RFC 9018 5):
   * each server first learns the new one as `previous`, then as `active`. 16 bytes each.
   */
  constructor(active: Uint8Array, previous: Uint8Array | null = null) {
    for (const secret of previous === null ? [active] : [active, previous]) {
      if (secret.length === COOKIE_SECRET_BYTES) continue;
      const expected = `expected ${COOKIE_SECRET_BYTES}`;
      throw new RangeError(`cookie secret of ${secret.length} bytes: ${expected}`);
    }
    this.#active = Uint8Array.from(active);
    this.#previous = previous === null ? null : Uint8Array.from(previous);
  }

  /** Once per batch, before `read`. */
  setTime(nowSeconds: number): void {
    this.#nowSeconds = nowSeconds;
  }

  /**
   * Takes the cookie bytes[start..start + length) of a query (8 bytes, or 16 to 40) that came from
   * the 16-byte address at addresses[at], which is v4-mapped when `family` is 4. Whether it proves
   * that address. A client's half alone proves nothing, neither does a server cookie of another
   * size or version than ours.
   */
  read(
    bytes: Uint8Array,
    start: number,
    length: number,
    addresses: Uint8Array,
    at: number,
    family: number,
  ): boolean {
    this.#isFresh = false;
    const input = family === 4 ? this.#input4 : this.#input6;
    const skipped = family === 4 ? MAPPED_BYTES : 0;
    this.#input = input;
    copyBytes(input, HEAD_BYTES, addresses, at + skipped, input.length - HEAD_BYTES);
    if (length !== COOKIE_BYTES || bytes[start + CLIENT_COOKIE_BYTES] !== VERSION) {
      copyBytes(input, 0, bytes, start, CLIENT_COOKIE_BYTES);
      return false;
    }
    copyBytes(input, 0, bytes, start, HEAD_BYTES);
    copyBytes(this.#received, 0, bytes, start + HEAD_BYTES, SIPHASH_BYTES);
    return this.#isValid(input);
  }

  /**
   * Writes the COOKIE_BYTES of the answer to the query read last: the client's half and a server
   * cookie, the query's own when that is valid and young.
   */
  write(out: Uint8Array, at: number): void {
    const input = this.#input;
    if (this.#isFresh) {
      copyBytes(out, copyBytes(out, at, input, 0, HEAD_BYTES), this.#received, 0, SIPHASH_BYTES);
      return;
    }
    const now = this.#nowSeconds;
    input[CLIENT_COOKIE_BYTES] = VERSION;
    input.fill(0, CLIENT_COOKIE_BYTES + 1, TIMESTAMP);
    for (let i = 0; i < 4; i++) input[TIMESTAMP + i] = now >>> (24 - 8 * i);
    siphash(this.#hash, input, this.#active);
    copyBytes(out, copyBytes(out, at, input, 0, HEAD_BYTES), this.#hash, 0, SIPHASH_BYTES);
  }

  #isValid(input: Uint8Array): boolean {
    let timestamp = 0;
    for (let i = 0; i < 4; i++) timestamp = (timestamp << 8) | input[TIMESTAMP + i];
    const age = (this.#nowSeconds - timestamp) | 0;
    if (age > COOKIE_VALID_SECONDS || age < -COOKIE_AHEAD_SECONDS) return false;
    if (this.#isMade(input, this.#active)) {
      this.#isFresh = age <= COOKIE_RENEW_SECONDS;
      return true;
    }
    return this.#previous !== null && this.#isMade(input, this.#previous);
  }

  /** Compares in constant time, so that a cookie cannot be guessed byte by byte. */
  #isMade(input: Uint8Array, secret: Uint8Array): boolean {
    siphash(this.#hash, input, secret);
    let difference = 0;
    for (let i = 0; i < SIPHASH_BYTES; i++) difference |= this.#hash[i] ^ this.#received[i];
    return difference === 0;
  }
}

/**
 * The cookie secret of a server that is given none: made from the token secret, so that servers
 * which share that one share their cookies too.
 */
export function deriveCookieSecret(tokenSecret: Uint8Array): Uint8Array {
  const whole = new Uint8Array(MAC_BYTES);
  mac(whole, SECRET_LABEL, tokenSecret);
  return whole.slice(0, COOKIE_SECRET_BYTES);
}

export interface CookieSecrets {
  readonly active: Uint8Array;
  readonly previous: Uint8Array | null;
}

/**
 * Reads `HEX` or `HEX,OLDHEX`, 32 hex digits each. Throws a RangeError that says what is allowed,
 * without the secret.
 */
export function parseCookieSecrets(text: string): CookieSecrets {
  const parts = text.split(',');
  const isHex = (part: string): boolean => /^[0-9a-f]{32}$/i.test(part);
  if (parts.length > 2 || !parts.every(isHex)) {
    const digits = 2 * COOKIE_SECRET_BYTES;
    throw new RangeError(
      `expected ${digits} hex digits, or two secrets of them separated by a comma`,
    );
  }
  const [active, previous] = parts.map((part) => Uint8Array.from(Buffer.from(part, 'hex')));
  return { active, previous: previous ?? null };
}
