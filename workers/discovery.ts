/**
 * The DNS discovery responder: one query in, its answer in the same place. What the npm package
 * dns-discovery does as a server, with the rules of DNS around it.
 *
 *   read -> sample the peers to name -> act (announce, unannounce, subscribe) -> write
 *
 * The peers are sampled before the records are acted upon, as the original does: the answer to a
 * first announce does not name the announcer. The answer overwrites the records, so it is written
 * last.
 */
import {
  CLASS,
  CLASSIC_UDP_BYTES,
  PEER4_BYTES,
  PEER6_BYTES,
  PEERS4_PER_STRING,
  RCODE,
  TYPE,
} from '../codecs/dns/constants.ts';
import { DiscoveryTxt } from '../codecs/dns/discovery-txt.ts';
import type { QueryReader } from '../codecs/dns/query.ts';
import { errorHeader, ReplyWriter, udpReplyLimit } from '../codecs/dns/reply.ts';
import { RESERVED_IDS, type ZoneOptions } from '../codecs/dns/zone.ts';
import type { HalfSipHash } from '../codecs/hash/halfsiphash.ts';
import { COUNTER, type CounterRow } from './counters.ts';
import { fillChange, type Key } from './key.ts';
import { FRESH_SECONDS, PUSHES_PER_ANNOUNCE, type Pusher } from './pusher.ts';
import type { Rng } from './rng.ts';
import {
  SLOT_ADDRESS,
  SLOT_BUDGET,
  SLOT_BYTES,
  SLOT_DATA_BYTES,
  SLOT_FAMILY,
  SLOT_HEADER_BYTES,
  SLOT_KEY_HASH,
  SLOT_LENGTH,
  SLOT_LOCAL,
  SLOT_PORT,
  SLOT_TRANSPORT,
  type Slab,
  TRANSPORT_UDP,
} from './slab.ts';
import { ADDED, Change, FULL, OP_PUT, OP_REMOVE, STALE } from './store/change.ts';
import type { RecordStore } from './store/record-store.ts';
import type { Tokens, Topic } from './tokens.ts';

/**
 * Peers of one family sampled for a lookup: three full `peers=` strings and a remainder fill 1232
 * bytes.
 */
const MAX_PEERS4 = 124;
/** Four full `peers6=` strings. */
const MAX_PEERS6 = 40;
/** What 512 bytes have room for: one full string and a bit. */
const MAX_CLASSIC_PEERS6 = 14;
/** The port behind the address in a peer's record. */
const PORT_BYTES = 2;
/** Peers named in an A, AAAA or SRV answer, as the original's. */
const MAX_RECORD_PEERS = 10;
/** A, AAAA and SRV records are not cached longer than this, however long peers live. */
const MAX_WIRE_TTL_SECONDS = 60;
/** A lookup's TXT holds a token that is the asker's alone: never cached. */
const TXT_TTL_SECONDS = 0;
/** The last second a record can expire at. */
const LAST_SECOND = 0xffff_ffff;
/** Rows looked at per tick by the expiry sweep: 10 million in 10 minutes at 4 ticks a second. */
const SWEEP_ROWS = 4096;
/** Of these, rows freed: about 1.4 ms of work; 10 million an hour need 700 a tick. */
const SWEEP_FREED = 1024;

export interface DiscoveryParts {
  readonly slab: Slab;
  readonly counters: CounterRow;
  readonly reader: QueryReader;
  readonly hash: HalfSipHash;
  readonly store: RecordStore;
  readonly tokens: Tokens;
  readonly pusher: Pusher;
  readonly rng: Rng;
  /** How long an announce lives; 0: for ever. */
  readonly ttlSeconds: number;
  readonly zone: ZoneOptions;
}

export class DiscoveryResponder {
  readonly #parts: DiscoveryParts;
  readonly #reply: ReplyWriter;
  readonly #txt = new DiscoveryTxt();
  readonly #change = new Change();
  readonly #key: Key;
  readonly #records = new Int32Array(MAX_PEERS4);
  readonly #pairs4 = new Int32Array(MAX_PEERS4 * 2);
  readonly #peers4 = new Uint8Array(MAX_RECORD_PEERS * PEER4_BYTES);
  readonly #peers6 = new Uint8Array(MAX_PEERS6 * PEER6_BYTES);
  readonly #wireTtl: number;
  readonly #topic: Topic = { hash: 0, domainAndPort: 0, path: 0 };
  /** The most bytes of the answer. */
  #limit = 0;
  /** Whether the answer may be longer than classic DNS allows. */
  #isRoomy = false;
  #count4 = 0;
  #count6 = 0;
  /** Pushes the datagram may still cause. */
  #pushesLeft = 0;
  #nowMs = 0;
  #nowSeconds = 0;

  constructor(parts: DiscoveryParts) {
    this.#parts = parts;
    this.#reply = new ReplyWriter(parts.reader, parts.zone);
    this.#key = { bytes: parts.reader.folded, end: 0, hash: 0, domain: 0 };
    this.#wireTtl = Math.min(parts.ttlSeconds, MAX_WIRE_TTL_SECONDS);
  }

  /** Sets the time for the datagrams to come, never less than before; once per batch. */
  setTime(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#nowSeconds = Math.floor(nowMs / 1000);
    this.#parts.tokens.setTime(nowMs);
  }

  /** Frees some of what has expired by `nowMs`. */
  tick(nowMs: number): void {
    this.#parts.store.sweep(Math.floor(nowMs / 1000), SWEEP_ROWS, SWEEP_FREED);
  }

  /** Answers the message in `slot` in place; returns the answer's length, 0 for none. */
  answer(slot: number): number {
    const { slab, counters, pusher, reader } = this.#parts;
    const base = slot * SLOT_BYTES;
    const start = base + SLOT_HEADER_BYTES;
    const length = slab.i32[(base + SLOT_LENGTH) >> 2];
    if ((slab.bytes[start + 2] & 0x80) !== 0) {
      counters[pusher.acknowledge(slot) ? COUNTER.absorbed : COUNTER.dropUnsolicited]++;
      return 0;
    }
    if (reader.read(slab.bytes, start, length) !== RCODE.NOERROR) {
      counters[COUNTER.formatErrors]++;
      return errorHeader(slab.bytes, start, RCODE.FORMERR);
    }
    this.#setLimit(base);
    return this.#answerQuery(slot, base, start);
  }

  #answerQuery(slot: number, base: number, start: number): number {
    const { slab, counters, hash, reader } = this.#parts;
    if (reader.ednsVersion > 0) return this.#finish(start, RCODE.BADVERS, false);
    const isInternet = reader.qclass === CLASS.IN || reader.qclass === CLASS.ANY;
    if (reader.domain < 0 || (reader.qdcount === 1 && !isInternet)) {
      counters[COUNTER.refused]++;
      return this.#finish(start, RCODE.REFUSED, false);
    }
    if (reader.isApex) return this.#answerApex(base, start);
    if (isReserved(reader)) return this.#answerReserved(base, start);
    const key = this.#key;
    key.end = reader.keyEnd;
    key.domain = reader.domain;
    // A dispatcher of several lanes has hashed the key already.
    key.hash = slab.i32[(base + SLOT_KEY_HASH) >> 2];
    if (key.hash === 0) key.hash = hash.prefix(reader.name.words, reader.keyEnd);
    this.#sample();
    if (reader.qtype === TYPE.TXT || reader.txtCount > 0) {
      this.#parts.tokens.load(slab.i32, (base + SLOT_ADDRESS) >> 2);
    }
    if (reader.txtCount > 0) this.#act(slot);
    this.#begin(start);
    if (reader.qdcount === 1) this.#writePeers();
    return this.#reply.finish(RCODE.NOERROR, reader.qdcount === 1);
  }

  /** The domain itself: probes, SOA and NS. */
  #answerApex(base: number, start: number): number {
    const { slab, counters, reader, tokens } = this.#parts;
    this.#begin(start);
    const reply = this.#reply;
    if (reader.qtype === TYPE.TXT) {
      counters[COUNTER.probes]++;
      tokens.load(slab.i32, (base + SLOT_ADDRESS) >> 2);
      const port = slab.u16[(base + SLOT_PORT) >> 1];
      reply.txtProbe(TXT_TTL_SECONDS, tokens.text, 0, slab.bytes, base + SLOT_ADDRESS, port);
    } else {
      counters[COUNTER.plainQueries]++;
      if (reader.qtype === TYPE.SOA) reply.soaAnswer();
      else if (reader.qtype === TYPE.NS) reply.nsAnswer();
      else reply.soaAuthority();
    }
    return reply.finish(RCODE.NOERROR, reader.qdcount === 1);
  }

  /**
   * A name that the apex records point at: nobody may announce under it, or the zone would be his.
   * Its address is the one the query came to.
   */
  #answerReserved(base: number, start: number): number {
    const { counters, reader, slab } = this.#parts;
    const reply = this.#reply;
    counters[COUNTER.plainQueries]++;
    this.#begin(start);
    const local = base + SLOT_LOCAL;
    const isKnown = slab.i32[(local >> 2) + 3] !== 0;
    const isIpv6 = slab.bytes[base + SLOT_FAMILY] === 6;
    if (isKnown && reader.qtype === TYPE.A && !isIpv6) {
      reply.a(MAX_WIRE_TTL_SECONDS, slab.bytes, local + 12);
    } else if (isKnown && reader.qtype === TYPE.AAAA && isIpv6) {
      reply.aaaa(MAX_WIRE_TTL_SECONDS, slab.bytes, local);
    }
    if (reply.answers === 0) reply.soaAuthority();
    return reply.finish(RCODE.NOERROR, reader.qdcount === 1);
  }

  /** Copies the peers that the answer will name out of the store. */
  #sample(): void {
    const { reader, store } = this.#parts;
    const { qtype } = reader;
    this.#count4 = 0;
    this.#count6 = 0;
    if (reader.qdcount === 0) return;
    const isTxt = qtype === TYPE.TXT;
    const isSrv = qtype === TYPE.SRV;
    let name = this.#find();
    if (name < 0) return;
    store.touch(name);
    if (isTxt) this.#count4 = this.#sample4(name);
    else if (isSrv || qtype === TYPE.A) {
      this.#count4 = this.#sampleFamily(name, 4, MAX_RECORD_PEERS, this.#peers4);
    }
    // Nothing of IPv4: what there was may have been expired, and the name gone with it.
    if (this.#count4 === 0) name = this.#find();
    if (name < 0 || store.liveCount(name) === this.#count4) return;
    if (isTxt)
      this.#count6 = this.#sampleFamily(
        name,
        6,
        this.#isRoomy ? MAX_PEERS6 : MAX_CLASSIC_PEERS6,
        this.#peers6,
      );
    else if (isSrv || qtype === TYPE.AAAA) {
      this.#count6 = this.#sampleFamily(name, 6, MAX_RECORD_PEERS, this.#peers6);
    }
  }

  /** The name of the query's key in the store, or -1. */
  #find(): number {
    const key = this.#key;
    return this.#parts.store.find(key.bytes, 0, key.end, key.hash, key.domain);
  }

  /** IPv4 peers for a TXT answer; without EDNS it holds no more than one full string. */
  #sample4(name: number): number {
    const { rng, store } = this.#parts;
    const most = this.#isRoomy ? MAX_PEERS4 : PEERS4_PER_STRING;
    const count = store.sample(name, 4, most, this.#nowSeconds, rng, this.#records);
    store.copyPairs(this.#records, count, this.#pairs4);
    return count;
  }

  #sampleFamily(name: number, family: 4 | 6, max: number, out: Uint8Array): number {
    const { store, rng } = this.#parts;
    const count = store.sample(name, family, max, this.#nowSeconds, rng, this.#records);
    store.copyPeers(this.#records, count, out, 0);
    return count;
  }

  /** Acts on the query's TXT records, each in its order: needs a valid token. */
  #act(slot: number): void {
    const { slab, counters, reader, tokens } = this.#parts;
    const txt = this.#txt;
    this.#pushesLeft = PUSHES_PER_ANNOUNCE;
    for (let i = 0; i < reader.txtCount; i++) {
      txt.read(slab.bytes, reader.txtStart[i], reader.txtEnd[i]);
      if (txt.tokenLength < 0) continue;
      if (!tokens.verify(slab.view, txt.tokenStart, txt.tokenLength)) {
        counters[COUNTER.badTokens]++;
        continue;
      }
      if (txt.announce >= 0) this.#announce(slot, txt.announce);
      if (txt.unannounce >= 0) this.#unannounce(slot, txt.unannounce);
      if (txt.subscribe) this.#subscribe(slot);
      else this.#unsubscribe(slot);
    }
  }

  /** Renews in the store only what is not fresh (see FRESH_SECONDS in pusher.ts). */
  #subscribe(slot: number): void {
    const { counters, pusher, slab, tokens } = this.#parts;
    const key = this.#key;
    const topic = this.#topic;
    counters[COUNTER.subscribes]++;
    topic.hash = key.hash;
    topic.domainAndPort = (key.domain << 16) | slab.u16[(slot * SLOT_BYTES + SLOT_PORT) >> 1];
    topic.path = pusher.pathOf(slot);
    if (tokens.isSubscribed(topic, this.#nowSeconds, FRESH_SECONDS)) return;
    const isStored = pusher.subscribe(key, slot, topic.path, this.#nowSeconds);
    if (isStored) tokens.subscribed(topic, this.#nowSeconds);
  }

  #unsubscribe(slot: number): void {
    this.#parts.pusher.unsubscribe(this.#key, slot, this.#nowSeconds);
    this.#parts.tokens.unsubscribed();
  }

  #announce(slot: number, port: number): void {
    const { counters, store, pusher, ttlSeconds } = this.#parts;
    const change = this.#changeOf(OP_PUT, slot, port);
    // From the next full second on: never less than the ttl.
    const expiresAt = Math.min(this.#nowSeconds + 1 + ttlSeconds, LAST_SECOND);
    change.expiresAt = ttlSeconds === 0 ? 0 : expiresAt;
    const result = store.apply(change);
    counters[COUNTER.announces]++;
    if (result === FULL || result === STALE) counters[COUNTER.announcesRejected]++;
    if (result !== ADDED) return;
    const most = this.#pushesLeft;
    const told = pusher.notify(this.#key, slot, change.port, this.#wireTtl, this.#nowMs, most);
    this.#pushesLeft -= told;
  }

  #unannounce(slot: number, port: number): void {
    this.#parts.store.apply(this.#changeOf(OP_REMOVE, slot, port));
    this.#parts.counters[COUNTER.unannounces]++;
  }

  /**
   * Makes the change about the asker, under the query's key; port 0 is the datagram's source port.
   */
  #changeOf(op: number, slot: number, port: number): Change {
    const change = this.#change;
    fillChange(change, op, this.#key, this.#parts.slab, slot, this.#nowSeconds);
    if (port !== 0) change.port = port;
    return change;
  }

  #writePeers(): void {
    const { counters, reader } = this.#parts;
    const reply = this.#reply;
    if (reader.qtype === TYPE.TXT) {
      counters[reader.txtCount > 0 ? COUNTER.lookups : COUNTER.plainQueries]++;
      const { text } = this.#parts.tokens;
      const ttl = TXT_TTL_SECONDS;
      reply.txtPeers(ttl, text, 0, this.#pairs4, this.#count4, this.#peers6, this.#count6);
      return;
    }
    counters[COUNTER.plainQueries]++;
    this.#writeRecords(reader.qtype);
    if (reply.answers === 0) reply.soaAuthority();
  }

  /** A, AAAA and SRV; any other type has no data. */
  #writeRecords(qtype: number): void {
    if (qtype === TYPE.SRV) this.#writeServices();
    else if (qtype === TYPE.A) this.#writeAddresses(this.#peers4, this.#count4, PEER4_BYTES);
    else if (qtype === TYPE.AAAA) this.#writeAddresses(this.#peers6, this.#count6, PEER6_BYTES);
  }

  /** Several ports of one host are one address: an RRset has no duplicates (RFC 2181 section 5). */
  #writeAddresses(peers: Uint8Array, count: number, peerBytes: number): void {
    const reply = this.#reply;
    for (let i = 0; i < count; i++) {
      const at = i * peerBytes;
      if (isRepeated(peers, at, peerBytes)) continue;
      if (peerBytes === PEER4_BYTES) reply.a(this.#wireTtl, peers, at);
      else reply.aaaa(this.#wireTtl, peers, at);
    }
  }

  #writeServices(): void {
    const reply = this.#reply;
    const ttl = this.#wireTtl;
    for (let i = 0; i < this.#count4; i++) reply.srv4(ttl, this.#peers4, i * PEER4_BYTES);
    const room = Math.min(this.#count6, MAX_RECORD_PEERS - this.#count4);
    for (let i = 0; i < room; i++) reply.srv6(ttl, this.#peers6, i * PEER6_BYTES);
  }

  #setLimit(base: number): void {
    const { slab, reader } = this.#parts;
    const budget = Math.min(slab.i32[(base + SLOT_BUDGET) >> 2], SLOT_DATA_BYTES);
    const isUdp = slab.bytes[base + SLOT_TRANSPORT] === TRANSPORT_UDP;
    this.#limit = isUdp ? Math.min(budget, udpReplyLimit(reader)) : budget;
    this.#isRoomy = this.#limit > CLASSIC_UDP_BYTES;
  }

  #begin(start: number): void {
    this.#reply.begin(this.#parts.slab.bytes, start, this.#parts.reader, this.#limit);
  }

  /** An answer without records. */
  #finish(start: number, rcode: number, aa: boolean): number {
    this.#begin(start);
    return this.#reply.finish(rcode, aa);
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

/** Whether the address of the peer at peers[at] is that of one before it. */
function isRepeated(peers: Uint8Array, at: number, peerBytes: number): boolean {
  const addressBytes = peerBytes - PORT_BYTES;
  for (let other = 0; other < at; other += peerBytes) {
    let i = 0;
    while (i < addressBytes && peers[other + i] === peers[at + i]) i++;
    if (i === addressBytes) return true;
  }
  return false;
}
