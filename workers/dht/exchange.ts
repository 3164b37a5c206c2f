/**
 * One request of the DHT and the reply that takes its place in the slot:
 *
 *   request  03 flags tid to [id] [token] command [target] [value]
 *   reply    13 flags tid to [id] [token] [closer nodes] [error] [value]
 *                            ^ from here on what is read is overwritten
 *
 * What commands answer is their business (internal-commands.ts, announces.ts, values.ts, relay.ts);
 * what a reply looks like and how long it may be is decided here. A source that has not proven its
 * address gets what admission has budgeted: closer nodes are left out for that, then records; else
 * there is no reply.
 */
import { writeAddress } from '../../codecs/dht/address.ts';
import {
  ADDRESS_BYTES,
  DHT_ERROR,
  FLAG_CLOSER_NODES,
  FLAG_ERROR,
  FLAG_ID,
  FLAG_TOKEN,
  FLAG_VALUE,
  ID_BYTES,
  K,
  MAX_DATAGRAM_BYTES,
  TOKEN_BYTES,
} from '../../codecs/dht/constants.ts';
import { writeReplyHead } from '../../codecs/dht/reply.ts';
import { varintBytes, writeVarint } from '../../codecs/dht/varint.ts';
import { COUNTER, type CounterRow } from '../counters.ts';
import { SLOT_ADDRESS, SLOT_BYTES, SLOT_HEADER_BYTES, SLOT_PORT, SLOT_RECEIVER } from '../slab.ts';
import { ADDED, type ApplyResult, BOUNDED, REFRESHED } from '../store/change.ts';
import { type ExchangeParts, Incoming } from './incoming.ts';

/** The head but for the address: first byte, flags, transaction id. */
const TO_AT = 4;
/** The longest length of a value: datagrams are shorter than 2^16. */
const LENGTH_ROOM = 3;

export class Exchange extends Incoming {
  readonly counters: CounterRow;
  /** Of the value being written: where it goes, and where it must end. */
  valueAt = 0;
  valueEnd = 0;
  #isCut = false;
  #flags = 0;
  #at = 0;
  /** Closer nodes that there is a gap for before the value. */
  #gapNodes = 0;

  constructor(parts: ExchangeParts) {
    super(parts);
    this.counters = parts.counters;
  }

  /** Whether a put came into effect; counted if not. */
  isStored(result: ApplyResult): boolean {
    if (result === ADDED || result === REFRESHED) return true;
    this.counters[result === BOUNDED ? COUNTER.dhtStoreBounded : COUNTER.dhtStoreRejected]++;
    return false;
  }

  /** No reply, for this reason. */
  drop(counter: number): number {
    this.counters[counter]++;
    return 0;
  }

  /** No reply, as the original gives none or what is sent goes elsewhere. */
  absorb(): number {
    this.counters[COUNTER.absorbed]++;
    return 0;
  }

  /** No reply: the source has had its budget, or this reply does not fit into it. */
  silence(): number {
    this.counters[COUNTER.dropRateLimited]++;
    return 0;
  }

  /** A reply without a value; returns its length. Nodes only if there is a target. */
  reply(error: number, withToken: boolean, withNodes: boolean): number {
    this.#begin(withToken);
    const tail = error === DHT_ERROR.NONE ? 0 : 1;
    if (withNodes && this.hasTarget) this.#addNodes(K, this.#room - tail);
    if (tail > 0) {
      this.#flags |= FLAG_ERROR;
      this.bytes[this.#at++] = error;
    }
    return this.#finish();
  }

  /** A reply with token, closer nodes and the value source[from..from+count). */
  replyValue(source: Uint8Array, from: number, count: number): number {
    const { bytes } = this;
    this.#begin(true);
    const room = this.#room - varintBytes(count) - count;
    if (room < 0) return this.silence();
    this.#addNodes(K, room);
    this.#flags |= FLAG_VALUE;
    const at = writeVarint(bytes, this.#at, count);
    for (let i = 0; i < count; i++) bytes[at + i] = source[from + i];
    this.#at = at + count;
    return this.#finish();
  }

  /**
   * Begins a reply with token, closer nodes and a value of yet unknown length: it is written to
   * bytes[valueAt..valueEnd), then `endValue` puts everything in its place. There may be no room.
   */
  beginValue(): void {
    this.#begin(true);
    const size = this.parts.table.size;
    this.#gapNodes = Math.min(size, K);
    this.valueAt = this.#at + 1 + this.#gapNodes * ADDRESS_BYTES + LENGTH_ROOM;
    this.valueEnd = this.valueAt + this.#room - LENGTH_ROOM;
  }

  /** Ends it, with the value's length. `isShort`: records were left out for lack of room. */
  endValue(count: number, isShort: boolean): number {
    if (isShort) this.#isCut = true;
    this.#addNodes(this.#gapNodes, this.#room - varintBytes(count) - count);
    this.#flags |= FLAG_VALUE;
    const at = writeVarint(this.bytes, this.#at, count);
    if (at !== this.valueAt) this.bytes.copyWithin(at, this.valueAt, this.valueAt + count);
    this.#at = at + count;
    return this.#finish();
  }

  /** Ends it without the value. `isShort`: as with it. */
  endWithoutValue(isShort: boolean): number {
    if (isShort) this.#isCut = true;
    this.#addNodes(this.#gapNodes, this.#room);
    return this.#finish();
  }

  /** Whether replies by this socket show our id. */
  showsId(receiver: number): boolean {
    return receiver !== this.parts.clientReceiver && this.parts.table.isPersistent;
  }

  /** Writes our id to out[at..]; returns the offset behind it. */
  writeId(out: Uint8Array, at: number): number {
    this.parts.table.ownId(out, at);
    return at + ID_BYTES;
  }

  /** Writes the reply of a ping into a slot of our own; returns its length. */
  writePing(slot: number, tid: number): number {
    const { bytes, slab } = this;
    const base = slot * SLOT_BYTES;
    const start = base + SLOT_HEADER_BYTES;
    const hasId = this.showsId(slab.u16[(base + SLOT_RECEIVER) >> 1]);
    writeReplyHead(bytes, start, hasId ? FLAG_ID : 0, tid);
    const port = slab.u16[(base + SLOT_PORT) >> 1];
    const at = writeAddress(bytes, start + TO_AT, bytes, base + SLOT_ADDRESS, port);
    return (hasId ? this.writeId(bytes, at) : at) - start;
  }

  get #room(): number {
    return this.start + this.limit - this.#at;
  }

  /** The head, our id and the token. From here on the request is gone. */
  #begin(withToken: boolean): void {
    const { bytes, base, slab } = this;
    if (withToken) this.loadToken();
    this.#flags = 0;
    this.#isCut = false;
    const to = this.start + TO_AT;
    this.#at = writeAddress(bytes, to, bytes, base + SLOT_ADDRESS, this.port);
    if (this.showsId(slab.u16[(base + SLOT_RECEIVER) >> 1])) {
      this.#flags |= FLAG_ID;
      this.#at = this.writeId(bytes, this.#at);
    }
    if (!withToken) return;
    this.#flags |= FLAG_TOKEN;
    this.parts.tokens.write(bytes, this.#at);
    this.#at += TOKEN_BYTES;
  }

  /** Adds at most `most` closer nodes, as many as there is room for. */
  #addNodes(most: number, room: number): void {
    const fitting = room <= 0 ? 0 : ((room - 1) / ADDRESS_BYTES) | 0;
    const { table } = this.parts;
    if (fitting < most && fitting < table.size) this.#isCut = true;
    const asked = Math.min(fitting, most);
    if (asked === 0) return;
    const count = table.writeClosest(this.target, 0, asked, this.bytes, this.#at + 1);
    if (count === 0) return;
    this.#flags |= FLAG_CLOSER_NODES;
    this.bytes[this.#at] = count;
    this.#at += 1 + count * ADDRESS_BYTES;
  }

  #finish(): number {
    const length = this.#at - this.start;
    if (length > this.limit) return this.silence();
    if (this.#isCut && this.limit < MAX_DATAGRAM_BYTES) this.counters[COUNTER.dhtLimitedReplies]++;
    writeReplyHead(this.bytes, this.start, this.#flags, this.reader.tid);
    return length;
  }
}
