/** What a server's answer says about the asker: `token=`, `host=` and `port=`. */
import { asciiText, canonicalAddress } from './address-text.ts';
import { MAX_TOKEN_TEXT_BYTES } from './client-query.ts';
import { TOKEN_KEY, valueStart } from './peer-strings.ts';
import { HOST_KEY, PORT_KEY } from './txt-strings.ts';

const MAX_PORT = 65_535;
const MAX_PORT_DIGITS = 5;

/**
 * Notes where the values of the last of equal keys are, and reads those once all strings were
 * shown: an answer may hold many. Offsets are into the bytes given to `note`; an end of -1: none.
 */
export class AboutAsker {
  #token = 0;
  #tokenEnd = -1;
  #host = 0;
  #hostEnd = -1;
  #port = 0;
  #portEnd = -1;

  /** One string, bytes[from..end) without its length byte. */
  note(bytes: Uint8Array, from: number, end: number): void {
    const token = valueStart(bytes, from, end, TOKEN_KEY);
    const host = valueStart(bytes, from, end, HOST_KEY);
    const port = valueStart(bytes, from, end, PORT_KEY);
    if (token >= 0) {
      this.#token = token;
      this.#tokenEnd = end;
    } else if (host >= 0) {
      this.#host = host;
      this.#hostEnd = end;
    } else if (port >= 0) {
      this.#port = port;
      this.#portEnd = end;
    }
  }

  /** Printable ASCII of 1 to MAX_TOKEN_TEXT_BYTES, or null. */
  token(bytes: Uint8Array): string | null {
    const from = this.#token;
    const end = this.#tokenEnd;
    if (end <= from || end - from > MAX_TOKEN_TEXT_BYTES) return null;
    for (let at = from; at < end; at++) if (bytes[at] < 0x20 || bytes[at] > 0x7e) return null;
    return asciiText(bytes, from, end);
  }

  /** An address in its one form, or null. */
  host(bytes: Uint8Array): string | null {
    return canonicalAddress(bytes, this.#host, this.#hostEnd);
  }

  /** By the original's rule one to five digits, at most 65535; or -1. */
  port(bytes: Uint8Array): number {
    if (this.#portEnd - this.#port > MAX_PORT_DIGITS) return -1;
    const text = asciiText(bytes, this.#port, this.#portEnd);
    const port = Number(text);
    return /^\d+$/.test(text) && port <= MAX_PORT ? port : -1;
  }
}
