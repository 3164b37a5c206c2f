/**
 * The DNS discovery responder: one query in, its answer in the same place. What the npm package
 * dns-discovery does as a server, with the rules of DNS around it.
 *
 *   read -> prove the source -> sample the peers to name -> act -> write
 *           source-proof.ts     peer-sample.ts              actions.ts
 *
 * The proof comes first: an unproven source over its budget costs no more than the reading. The
 * peers are sampled before the records are acted upon, as the original does: the answer to a first
 * announce does not name the announcer. The answer overwrites the records, so it is written last.
 */
import {
  CLASS,
  CLASSIC_UDP_BYTES,
  CLIENT_COOKIE_BYTES,
  HEADER_FLAGS,
  PEER4_BYTES,
  PEER6_BYTES,
  RCODE,
  TYPE,
} from '../codecs/dns/constants.ts';
import { BAD_COOKIE, type QueryReader } from '../codecs/dns/query.ts';
import { errorHeader, ReplyWriter, udpReplyLimit } from '../codecs/dns/reply.ts';
import { RESERVED_IDS, ZONE_TTL_SECONDS, type ZoneOptions } from '../codecs/dns/zone.ts';
import type { HalfSipHash } from '../codecs/hash/halfsiphash.ts';
import { Actions } from './actions.ts';
import { AddressSet } from './address-set.ts';
import { headerBytes, unamplifiedBytes } from './amplification.ts';
import type { Cookies } from './cookies.ts';
import { COUNTER, type CounterRow } from './counters.ts';
import type { Key } from './key.ts';
import type { LaneHooks } from './lane-hooks.ts';
import { Message } from './message.ts';
import type { NameCap } from './name-cap.ts';
import { MAX_MESSAGE_BYTES, type Overflow } from './overflow.ts';
import type { OwnRecords } from './own-records.ts';
import {
  CLASSIC_BOUNDS,
  EDNS_BOUNDS,
  PeerSample,
  type SampleBounds,
  TCP_BOUNDS,
} from './peer-sample.ts';
import type { Pusher } from './pusher.ts';
import type { Rng } from './rng.ts';
import {
  BUDGET_SILENT,
  BUDGET_TRUNCATED,
  SLOT_ADDRESS,
  SLOT_FAMILY,
  SLOT_FREE,
  SLOT_KEY_HASH,
  SLOT_LOCAL,
  SLOT_PORT,
  SLOT_PROVEN,
  SLOT_STATE,
  type Slab,
} from './slab.ts';
import { SourceProof } from './source-proof.ts';
import type { RecordStore } from './store/record-store.ts';
import type { Tokens } from './tokens.ts';

/** The port behind the address in a peer's record. */
const PORT_BYTES = 2;
/** A, AAAA and SRV records are not cached longer than this, however long peers live. */
const MAX_WIRE_TTL_SECONDS = 60;
/** A lookup's TXT holds a token that is the asker's alone: never cached. */
const TXT_TTL_SECONDS = 0;
/** Rows looked at per tick by the expiry sweep: 10 million in 10 minutes at 4 ticks a second. */
const SWEEP_ROWS = 4096;
/** Of these, rows freed: about 1.4 ms of work; 10 million an hour need 700 a tick. */
const SWEEP_FREED = 1024;
/** QR in the first byte of the flags. */
const RESPONSE_BIT = 0x80;
const NO_PAIRS = new Int32Array(0);
const NO_PEERS = new Uint8Array(0);

export interface DiscoveryParts {
  readonly slab: Slab;
  /** Where the messages by TCP lie. */
  readonly overflow: Overflow;
  readonly counters: CounterRow;
  readonly reader: QueryReader;
  readonly hash: HalfSipHash;
  readonly store: RecordStore;
  readonly tokens: Tokens;
  /** Null: COOKIE options are ignored. */
  readonly cookies: Cookies | null;
  readonly pusher: Pusher;
  readonly rng: Rng;
  /** How long an announce lives; 0: for ever. */
  readonly ttlSeconds: number;
  readonly zone: ZoneOptions;
  /** The server's name for itself (RFC 5001), at most MAX_NSID_BYTES; null: it does not tell. */
  readonly nsid: Uint8Array | null;
  /** Null: names are bounded by records alone. */
  readonly nameCap: NameCap | null;
  readonly hooks: LaneHooks;
}

export class DiscoveryResponder {
  readonly #parts: DiscoveryParts;
  readonly #message: Message;
  readonly #proof: SourceProof;
  readonly #sample: PeerSample;
  readonly #actions: Actions;
  readonly #reply: ReplyWriter;
  readonly #named: AddressSet;
  readonly #key: Key;
  readonly #own: OwnRecords | null;
  readonly #wireTtl: number;
  #nowSeconds = 0;
  #isProven = false;
  /** The most bytes of the answer, and the most peers it can name. */
  #limit = 0;
  #bounds: SampleBounds = CLASSIC_BOUNDS;
  /** Whether it is the budget that sets the limit. */
  #isLimited = false;

  constructor(parts: DiscoveryParts) {
    const { overflow, reader, rng, slab } = parts;
    this.#parts = parts;
    this.#message = new Message(slab, overflow);
    this.#proof = new SourceProof(parts);
    this.#sample = new PeerSample(parts.store, rng);
    this.#reply = new ReplyWriter(reader, parts.zone);
    this.#named = new AddressSet(rng);
    this.#key = { bytes: reader.folded, end: 0, hash: 0, domain: 0 };
    this.#own = parts.hooks.own;
    this.#wireTtl = Math.min(parts.ttlSeconds, MAX_WIRE_TTL_SECONDS);
    this.#actions = new Actions({ ...parts, proof: this.#proof, wireTtlSeconds: this.#wireTtl });
  }

  /** Sets the time for the messages to come, never less than before; once per batch. */
  setTime(nowMs: number): void {
    this.#nowSeconds = Math.floor(nowMs / 1000);
    this.#actions.setTime(nowMs);
    this.#parts.tokens.setTime(nowMs);
    this.#parts.cookies?.setTime(this.#nowSeconds);
  }

  /** Frees some of what has expired by `nowMs`. */
  tick(nowMs: number): void {
    this.#parts.store.sweep(Math.floor(nowMs / 1000), SWEEP_ROWS, SWEEP_FREED);
  }

  /**
   * Answers the message in `slot` in place; returns the answer's length, 0 for none. Notes in the
   * slot's state whether the source is proven.
   */
  answer(slot: number): number {
    const { slab, counters, reader } = this.#parts;
    const message = this.#message;
    message.locate(slot);
    const { base, bytes, start } = message;
    slab.bytes[base + SLOT_STATE] = message.isTcp ? SLOT_PROVEN : SLOT_FREE;
    if ((bytes[start + HEADER_FLAGS] & RESPONSE_BIT) !== 0) return this.#takeResponse();
    if (reader.read(bytes, start, message.length) !== RCODE.NOERROR) {
      counters[COUNTER.formatErrors]++;
      if (!message.isTcp && message.budget === BUDGET_SILENT) return this.#silence();
      return errorHeader(bytes, start, RCODE.FORMERR);
    }
    this.#isProven = this.#proof.prove(message);
    if (this.#isProven) slab.bytes[base + SLOT_STATE] = SLOT_PROVEN;
    else if (message.budget === BUDGET_SILENT) return this.#silence();
    this.#setLimit();
    if (reader.hasOpt) this.#addOptions();
    return this.#answerQuery();
  }

  /** An acknowledgement of a push; those come by UDP. */
  #takeResponse(): number {
    const { counters, pusher } = this.#parts;
    const { isTcp, slot } = this.#message;
    const isAwaited = !isTcp && pusher.acknowledge(slot);
    counters[isAwaited ? COUNTER.absorbed : COUNTER.dropUnsolicited]++;
    return 0;
  }

  #silence(): number {
    this.#parts.counters[COUNTER.dropRateLimited]++;
    return 0;
  }

  /** By TCP all that a message holds, by UDP what EDNS allows, to the unproven what is budgeted. */
  #setLimit(): void {
    const { isTcp, budget } = this.#message;
    const most = isTcp ? MAX_MESSAGE_BYTES : udpReplyLimit(this.#parts.reader);
    this.#isLimited = !this.#isProven && budget > 0 && budget < most;
    this.#limit = this.#isLimited ? budget : most;
    if (this.#isTruncated()) this.#limit = Math.min(most, this.#unamplified());
    if (isTcp) this.#bounds = TCP_BOUNDS;
    else this.#bounds = this.#limit > CLASSIC_UDP_BYTES ? EDNS_BOUNDS : CLASSIC_BOUNDS;
  }

  /** Whether the source has to prove itself before it gets more than a token. */
  #isTruncated(): boolean {
    return !this.#isProven && this.#message.budget === BUDGET_TRUNCATED;
  }

  #unamplified(): number {
    const { base, length } = this.#message;
    return unamplifiedBytes(length, headerBytes(this.#parts.slab.bytes[base + SLOT_FAMILY]));
  }

  /** A cookie for a cookie; an NSID only within the budget, for it can be longer than the query. */
  #addOptions(): void {
    const { cookies, nsid, reader } = this.#parts;
    const { options } = this.#reply;
    options.clear();
    if (reader.cookieLength > 0) cookies?.write(options.bytes, options.addCookie());
    if (reader.wantsNsid && nsid !== null && !this.#isTruncated()) options.addNsid(nsid);
  }

  #answerQuery(): number {
    const { counters, reader } = this.#parts;
    if (reader.ednsVersion > 0) return this.#error(RCODE.BADVERS);
    if (reader.hasOpt && reader.cookieLength === BAD_COOKIE) {
      counters[COUNTER.formatErrors]++;
      return this.#error(RCODE.FORMERR);
    }
    if (reader.isNameless) return this.#answerCookie();
    const isInternet = reader.qclass === CLASS.IN || reader.qclass === CLASS.ANY;
    if (reader.domain < 0 || (reader.qdcount === 1 && !isInternet)) {
      counters[COUNTER.refused]++;
      return this.#error(RCODE.REFUSED);
    }
    if (this.#isTruncated()) return this.#truncate();
    if (reader.isApex) return this.#answerApex();
    if (isReserved(reader)) return this.#answerReserved();
    return this.#answerName();
  }

  /**
   * A cookie without a question, from a client that wants one or asks whether its own is still good
   * (RFC 7873 5.4). The answer is hardly longer than that: any budget but none has room for it.
   */
  #answerCookie(): number {
    const { cookies, counters, reader } = this.#parts;
    if (cookies === null) {
      counters[COUNTER.formatErrors]++;
      return this.#error(RCODE.FORMERR);
    }
    counters[COUNTER.plainQueries]++;
    const isGood = reader.cookieLength === CLIENT_COOKIE_BYTES || this.#proof.hasCookie;
    return this.#error(isGood ? RCODE.NOERROR : RCODE.BADCOOKIE);
  }

  /** A name that peers announce under. */
  #answerName(): number {
    const { slab, hash, reader } = this.#parts;
    const message = this.#message;
    const key = this.#key;
    key.end = reader.keyEnd;
    key.domain = reader.domain;
    // A dispatcher of several lanes has hashed the key already.
    key.hash = slab.i32[(message.base + SLOT_KEY_HASH) >> 2];
    if (key.hash === 0) key.hash = hash.prefix(reader.name.words, reader.keyEnd);
    this.#sample.take(reader, key, this.#bounds, this.#nowSeconds);
    this.#own?.join(this.#sample, reader.qtype, key, this.#bounds, slab, message.base);
    if (reader.txtCount > 0) this.#actions.act(message, key);
    this.#begin();
    if (reader.qdcount === 1) this.#writePeers();
    return this.#finish();
  }

  /** The domain itself: probes, SOA and NS. */
  #answerApex(): number {
    const { counters, reader } = this.#parts;
    this.#begin();
    const reply = this.#reply;
    if (reader.qtype === TYPE.TXT) {
      counters[COUNTER.probes]++;
      this.#writeProbe();
    } else {
      counters[COUNTER.plainQueries]++;
      if (reader.qtype === TYPE.SOA) reply.soaAnswer();
      else if (reader.qtype === TYPE.NS) reply.nsAnswer();
      else if (reader.qtype === TYPE.ANY) reply.hinfo(ZONE_TTL_SECONDS);
      else reply.soaAuthority();
    }
    return this.#finish();
  }

  /** The asker's token, address and port; false when there is no room for them. */
  #writeProbe(): boolean {
    const { slab, tokens } = this.#parts;
    const { base } = this.#message;
    this.#proof.loadToken(this.#message);
    const port = slab.u16[(base + SLOT_PORT) >> 1];
    const at = base + SLOT_ADDRESS;
    return this.#reply.txtProbe(TXT_TTL_SECONDS, tokens.text, 0, slab.bytes, at, port);
  }

  /**
   * A name that the apex records point at: nobody may announce under it, or the zone would be his.
   * Its address is the one the query came to.
   */
  #answerReserved(): number {
    const { counters, reader, slab } = this.#parts;
    const { base } = this.#message;
    const reply = this.#reply;
    counters[COUNTER.plainQueries]++;
    this.#begin();
    const local = base + SLOT_LOCAL;
    const isKnown = slab.i32[(local >> 2) + 3] !== 0;
    const isIpv6 = slab.bytes[base + SLOT_FAMILY] === 6;
    if (isKnown && reader.qtype === TYPE.A && !isIpv6) {
      reply.a(MAX_WIRE_TTL_SECONDS, slab.bytes, local + 12);
    } else if (isKnown && reader.qtype === TYPE.AAAA && isIpv6) {
      reply.aaaa(MAX_WIRE_TTL_SECONDS, slab.bytes, local);
    } else if (reader.qtype === TYPE.ANY) {
      reply.hinfo(ZONE_TTL_SECONDS);
    }
    if (reply.answers === 0) reply.soaAuthority();
    return this.#finish();
  }

  #writePeers(): void {
    const { counters, reader, tokens } = this.#parts;
    const reply = this.#reply;
    if (reader.qtype === TYPE.TXT) {
      const { pairs4, count4, peers6, count6 } = this.#sample;
      counters[reader.txtCount > 0 ? COUNTER.lookups : COUNTER.plainQueries]++;
      this.#proof.loadToken(this.#message);
      reply.txtPeers(TXT_TTL_SECONDS, tokens.text, 0, pairs4, count4, peers6, count6);
      return;
    }
    counters[COUNTER.plainQueries]++;
    this.#writeRecords(reader.qtype);
    if (reply.answers === 0) reply.soaAuthority();
  }

  /** A, AAAA and SRV; any other type has no data, and ANY but a word on itself. */
  #writeRecords(qtype: number): void {
    const { peers4, count4, peers6, count6 } = this.#sample;
    if (qtype === TYPE.SRV) this.#writeServices();
    else if (qtype === TYPE.A) this.#writeAddresses(peers4, count4, PEER4_BYTES);
    else if (qtype === TYPE.AAAA) this.#writeAddresses(peers6, count6, PEER6_BYTES);
    else if (qtype === TYPE.ANY) this.#reply.hinfo(ZONE_TTL_SECONDS);
  }

  /** Several ports of one host are one address. */
  #writeAddresses(peers: Uint8Array, count: number, peerBytes: number): void {
    const reply = this.#reply;
    this.#named.clear();
    for (let i = 0; i < count; i++) {
      const at = i * peerBytes;
      if (!this.#named.add(peers, at, peerBytes - PORT_BYTES)) continue;
      if (peerBytes === PEER4_BYTES) reply.a(this.#wireTtl, peers, at);
      else reply.aaaa(this.#wireTtl, peers, at);
    }
  }

  #writeServices(): void {
    const reply = this.#reply;
    const ttl = this.#wireTtl;
    const { peers4, count4, peers6, count6 } = this.#sample;
    for (let i = 0; i < count4; i++) reply.srv4(ttl, peers4, i * PEER4_BYTES);
    for (let i = 0; i < count6; i++) reply.srv6(ttl, peers6, i * PEER6_BYTES);
  }

  #begin(): void {
    const { bytes, start } = this.#message;
    this.#reply.begin(bytes, start, this.#parts.reader, this.#limit);
  }

  #finish(): number {
    const length = this.#reply.finish(RCODE.NOERROR, this.#parts.reader.qdcount === 1);
    if (this.#isLimited && this.#reply.isShort) this.#parts.counters[COUNTER.limitedReplies]++;
    // A budget below a header.
    return length === 0 ? this.#silence() : length;
  }

  /** An answer without records. */
  #error(rcode: number): number {
    this.#begin();
    const length = this.#reply.finish(rcode, false);
    return length === 0 ? this.#silence() : length;
  }

  /**
   * To a source that is to prove itself first: ask again over TCP, or, when it speaks of cookies,
   * with the one that is in this answer (BADCOOKIE, RFC 7873 5.2.3), which is cheaper. Old clients
   * know neither and take an answer without records for a success, with which they have no token:
   * theirs is in the answer to a TXT question, for their next query to be proven by.
   */
  #truncate(): number {
    const { cookies, counters, reader } = this.#parts;
    counters[COUNTER.truncatedReplies]++;
    if (reader.hasOpt && reader.cookieLength > 0 && cookies !== null) {
      return this.#error(RCODE.BADCOOKIE);
    }
    this.#begin();
    if (!this.#writeTokenOnly()) this.#reply.truncate();
    return this.#reply.finish(RCODE.NOERROR, reader.qdcount === 1);
  }

  /** To a TXT question; true when that is the whole answer: a probe's. */
  #writeTokenOnly(): boolean {
    const { reader, tokens } = this.#parts;
    if (reader.qtype !== TYPE.TXT || isReserved(reader)) return false;
    if (reader.isApex) return this.#writeProbe();
    this.#proof.loadToken(this.#message);
    this.#reply.txtPeers(TXT_TTL_SECONDS, tokens.text, 0, NO_PAIRS, 0, NO_PEERS, 0);
    return false;
  }
}

/** Whether the query's id is one of RESERVED_IDS. */
function isReserved(reader: QueryReader): boolean {
  for (let i = 0; i < RESERVED_IDS.length; i++) {
    const id = RESERVED_IDS[i];
    if (id.length !== reader.keyEnd) continue;
    let at = 0;
    while (at < id.length && reader.folded[at] === id[at]) at++;
    if (at === id.length) return true;
  }
  return false;
}
