/**
 * DNS cookies as a client keeps them (RFC 7873 5): who does not see our questions cannot forge an
 * answer to them, even by guessing the id.
 */
import { CLIENT_COOKIE_BYTES, MAX_FULL_COOKIE_BYTES } from '../../../codecs/dns/constants.ts';

/** What is known of one address. */
interface Jar {
  /** Our half, then the server's once it is known. */
  cookie: Uint8Array;
  /** It has sent our half back: answers without it are forged, or the server is another one now. */
  isKept: boolean;
  /** Until then it is taken for one that does not know EDNS (RFC 6891 7). */
  plainUntil: number;
}

/** A host has a handful of addresses; more are forgotten and learnt again. */
const MOST_ADDRESSES = 32;
/** Then it is asked with EDNS again: it may have been another's answer, or be a newer server. */
const PLAIN_MS = 600_000;

export class CookieJar {
  readonly #jars = new Map<string, Jar>();
  readonly #secretBytes: (count: number) => Uint8Array;

  constructor(secretBytes: (count: number) => Uint8Array) {
    this.#secretBytes = secretBytes;
  }

  /** What to send to an address; null: no EDNS at all. */
  cookieFor(address: string, nowMs: number): Uint8Array | null {
    const jar = this.#of(address);
    return nowMs < jar.plainUntil ? null : jar.cookie;
  }

  /** Whether an answer's cookie, or that it has none, goes with what the address was sent. */
  accepts(address: string, cookie: Uint8Array | null): boolean {
    const jar = this.#of(address);
    if (cookie === null) return !jar.isKept;
    for (let i = 0; i < CLIENT_COOKIE_BYTES; i++) if (cookie[i] !== jar.cookie[i]) return false;
    return true;
  }

  /** Keeps the cookie of an answer that was accepted. */
  keep(address: string, cookie: Uint8Array | null): void {
    if (cookie === null || cookie.length > MAX_FULL_COOKIE_BYTES) return;
    const jar = this.#of(address);
    if (cookie.length > CLIENT_COOKIE_BYTES) jar.cookie = cookie.slice();
    jar.isKept = true;
  }

  /** The address does not take EDNS. */
  setPlain(address: string, nowMs: number): void {
    const jar = this.#of(address);
    jar.plainUntil = nowMs + PLAIN_MS;
    jar.isKept = false;
  }

  /** The address fell silent: another server may have taken its place. */
  forget(address: string): void {
    this.#jars.delete(address);
  }

  #of(address: string): Jar {
    let jar = this.#jars.get(address);
    if (jar === undefined) {
      if (this.#jars.size >= MOST_ADDRESSES) this.#jars.clear();
      jar = { cookie: this.#secretBytes(CLIENT_COOKIE_BYTES), isKept: false, plainUntil: 0 };
      this.#jars.set(address, jar);
    }
    return jar;
  }
}
