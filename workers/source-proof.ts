/**
 * Has the source of a query proven that it receives what is sent to its address? By TCP (its
 * handshake), by a valid cookie, or by a valid token in any TXT record of the query. Only then is
 * the answer not bounded by the budget of its prefix; and a TXT record is acted upon only when its
 * own token is valid.
 */
import { CLIENT_COOKIE_BYTES, MAX_TXT_RECORDS, TOKEN_TEXT_BYTES } from '../codecs/dns/constants.ts';
import { DiscoveryTxt } from '../codecs/dns/discovery-txt.ts';
import type { QueryReader } from '../codecs/dns/query.ts';
import type { Cookies } from './cookies.ts';
import { COUNTER, type CounterRow } from './counters.ts';
import type { Message } from './message.ts';
import { SLOT_ADDRESS, SLOT_FAMILY, type Slab } from './slab.ts';
import type { Tokens } from './tokens.ts';

export interface ProofParts {
  readonly slab: Slab;
  readonly counters: CounterRow;
  readonly reader: QueryReader;
  readonly tokens: Tokens;
  /** Null: COOKIE options are ignored. */
  readonly cookies: Cookies | null;
}

export class SourceProof {
  readonly #parts: ProofParts;
  /** What the query's TXT records ask for, valid up to the reader's `txtCount`. */
  readonly txts: readonly DiscoveryTxt[];
  /** 1 for each of `txts` whose token is valid. */
  readonly trusted = new Uint8Array(MAX_TXT_RECORDS);
  /** Whether the query's server cookie is valid. */
  hasCookie = false;
  /** Whether `tokens` has the source's address. */
  #isLoaded = false;

  constructor(parts: ProofParts) {
    this.#parts = parts;
    this.txts = Array.from({ length: MAX_TXT_RECORDS }, () => new DiscoveryTxt());
  }

  /**
   * Looks at all there is of `message`, the query just read. A query without a token costs no MAC.
   */
  prove(message: Message): boolean {
    const { reader } = this.#parts;
    this.#isLoaded = false;
    this.hasCookie = reader.hasOpt && reader.cookieLength > 0 && this.#checkCookie(message);
    let isProven = message.isTcp || this.hasCookie;
    if (reader.txtCount > 0 && this.#checkTokens(message)) isProven = true;
    return isProven;
  }

  /** Makes the token of the message's source the one in `tokens.text`, if it is not. */
  loadToken(message: Message): void {
    if (this.#isLoaded) return;
    this.#isLoaded = true;
    this.#parts.tokens.load(this.#parts.slab.i32, (message.base + SLOT_ADDRESS) >> 2);
  }

  #checkCookie({ base, bytes }: Message): boolean {
    const { cookies, counters, reader, slab } = this.#parts;
    if (cookies === null) return false;
    const { cookieStart, cookieLength } = reader;
    const family = slab.bytes[base + SLOT_FAMILY];
    const at = base + SLOT_ADDRESS;
    const isValid = cookies.read(bytes, cookieStart, cookieLength, slab.bytes, at, family);
    if (isValid) counters[COUNTER.cookiesValid]++;
    else if (cookieLength > CLIENT_COOKIE_BYTES) counters[COUNTER.badCookies]++;
    return isValid;
  }

  #checkTokens(message: Message): boolean {
    const { counters, reader } = this.#parts;
    let isAnyTrusted = false;
    for (let i = 0; i < reader.txtCount; i++) {
      const txt = this.txts[i];
      txt.read(message.bytes, reader.txtStart[i], reader.txtEnd[i]);
      const isTrusted = this.#isTrusted(txt, message);
      this.trusted[i] = isTrusted ? 1 : 0;
      if (isTrusted) isAnyTrusted = true;
      else if (txt.tokenLength >= 0) counters[COUNTER.badTokens]++;
    }
    return isAnyTrusted;
  }

  #isTrusted(txt: DiscoveryTxt, message: Message): boolean {
    if (txt.tokenLength !== TOKEN_TEXT_BYTES) return false;
    this.loadToken(message);
    return this.#parts.tokens.verify(message.view, txt.tokenStart, txt.tokenLength);
  }
}
