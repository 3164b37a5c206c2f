/**
 * PEER_HANDSHAKE and PEER_HOLEPUNCH: two peers who cannot reach each other yet meet through a node
 * at which one of them, the server, has announced itself.
 *
 *   client --FROM_CLIENT--> node --FROM_RELAY---------> server
 *   client <----REPLY------ node <--FROM_SERVER-------- server
 *
 *   client --FROM_CLIENT--> node --FROM_RELAY--> node --FROM_SECOND_RELAY--> server
 *   client <----REPLY------ node <-----------FROM_SERVER-------------------- server
 *
 * The original passes on what anyone asks to wherever anyone says. Here a message goes
 *
 *   - to a server: only to where the target was announced from, or, of the addresses a client may
 *     name, to a node of our routing table (handshakes) or to one that has just answered through us
 *     for this target (hole punches)
 *   - back to a client: only to one whose message with this transaction and target has just passed,
 *     and as often as it did
 *   - to nobody at a private or reserved address, unless the network is private
 *   - so often at most: by network of the sender and by address of the receiver. Receivers have two
 *     rates, so that forged sources use up one only: who finds that one used up is to be asked to
 *     prove its address, and passes by the other one when it tries again
 *
 * A relayed message has hardly more bytes than what caused it: our id and an address.
 */
import {
  isPrivateIpv4,
  isReservedIpv4,
  readHost,
  readPort,
  writeAddress,
} from '../../codecs/dht/address.ts';
import {
  ADDRESS_BYTES,
  DHT_ERROR,
  FLAG_ID,
  FLAG_TARGET,
  FLAG_VALUE,
  HEAD_BYTES,
  ID_BYTES,
  MAX_DATAGRAM_BYTES,
  RELAY_MODE,
} from '../../codecs/dht/constants.ts';
import {
  HolepunchReader,
  handshakeBytes,
  holepunchBytes,
  RelayReader,
  writeHandshake,
  writeHolepunch,
} from '../../codecs/dht/relay.ts';
import { writeReplyHead, writeRequestHead } from '../../codecs/dht/reply.ts';
import { varintBytes, writeVarint } from '../../codecs/dht/varint.ts';
import { BLAKE2B_BYTES, blake2b256 } from '../../codecs/hash/blake2b.ts';
import { COUNTER } from '../counters.ts';
import {
  SLOT_ADDRESS,
  SLOT_BYTES,
  SLOT_HEADER_BYTES,
  SLOT_RECEIVER,
  SLOT_UNPROVEN,
} from '../slab.ts';
import { prefixHigh, prefixLow } from '../source-prefix.ts';
import type { Exchange } from './exchange.ts';
import type { Forwards } from './forwards.ts';
import type { OwnDatagrams } from './own-datagrams.ts';
import type { Rate, RateSketch } from './rate-sketch.ts';
import type { RelayGuard } from './relay-guard.ts';
import type { RoutingTable } from './routing-table.ts';

/** Messages of a network's clients, or through another node: some ten connections a second. */
export const SOURCE_RATE: Rate = { perSecond: 64, burst: 256 };
/**
 * Messages to one server from proven sources, and as many from others: 30 connections a second
 * through this one of its three relays.
 */
export const RECEIVER_RATE: Rate = { perSecond: 128, burst: 512 };
/** What is before a relayed value at most: head, our id, a command of one byte, the target. */
const RELAY_HEAD_BYTES = HEAD_BYTES + ID_BYTES + 1 + ID_BYTES;
/** Where in `#scratch` the peer's address, the relay's and the receiver's lie. */
const PEER_AT = 0;
const RELAY_AT = ADDRESS_BYTES;
const RECEIVER_AT = 2 * ADDRESS_BYTES;
const NONE = -1;

export interface RelayParts {
  readonly exchange: Exchange;
  readonly forwards: Forwards;
  readonly table: RoutingTable;
  readonly own: OwnDatagrams;
  /** Clients whose message has passed, by transaction and target. */
  readonly clients: RelayGuard;
  /** Servers that have answered through us, by target. */
  readonly servers: RelayGuard;
  readonly bySource: RateSketch;
  /** Of sources that have not proven their addresses, and of those that have. */
  readonly byReceiver: RateSketch;
  readonly byReceiverProven: RateSketch;
  readonly isPrivate: boolean;
}

export class Relay {
  readonly #parts: RelayParts;
  readonly #handshake = new RelayReader();
  readonly #holepunch = new HolepunchReader();
  readonly #scratch = new Uint8Array(3 * ADDRESS_BYTES);
  readonly #address = new Uint8Array(ADDRESS_BYTES);
  readonly #id = new Uint8Array(BLAKE2B_BYTES);

  constructor(parts: RelayParts) {
    this.#parts = parts;
  }

  /** Takes a PEER_HANDSHAKE; returns the length of the reply to its sender. */
  handshake(): number {
    const x = this.#parts.exchange;
    const { valueStart, valueLength } = x.reader;
    const reader = this.#handshake;
    if (valueStart < 0 || !reader.read(x.bytes, valueStart, valueLength)) {
      return x.drop(COUNTER.dropMalformed);
    }
    switch (reader.mode) {
      case RELAY_MODE.FROM_CLIENT:
        return this.#handshakeFromClient(x);
      case RELAY_MODE.FROM_RELAY: {
        if (!this.#toForward(x)) return this.#refuse(x);
        const hasPeer = reader.peerAddressStart >= 0;
        if (hasPeer) this.#copyAddress(PEER_AT, x.bytes, reader.peerAddressStart);
        this.#sourceTo(x, RELAY_AT);
        const peerAt = hasPeer ? PEER_AT : NONE;
        return this.#passHandshake(x, RELAY_MODE.FROM_SECOND_RELAY, peerAt, RELAY_AT);
      }
      case RELAY_MODE.FROM_SERVER:
        if (!this.#toClient(x, reader.peerAddressStart)) return this.#refuse(x);
        this.#sourceTo(x, PEER_AT);
        return this.#passHandshake(x, RELAY_MODE.REPLY, PEER_AT, NONE);
      default:
        return x.absorb();
    }
  }

  /** Takes a PEER_HOLEPUNCH; returns the length of the reply to its sender: none. */
  holepunch(): number {
    const x = this.#parts.exchange;
    const { valueStart, valueLength } = x.reader;
    const reader = this.#holepunch;
    if (valueStart < 0 || !reader.read(x.bytes, valueStart, valueLength)) {
      return x.drop(COUNTER.dropMalformed);
    }
    switch (reader.mode) {
      case RELAY_MODE.FROM_CLIENT: {
        const { peerAddressStart } = reader;
        const isKnown = peerAddressStart < 0 ? this.#toForward(x) : this.#toPeer(x);
        if (!isKnown) return this.#refuse(x);
        return this.#passHolepunch(x, RELAY_MODE.FROM_RELAY);
      }
      case RELAY_MODE.FROM_SERVER:
        if (!this.#toClient(x, reader.peerAddressStart)) return this.#refuse(x);
        return this.#passHolepunch(x, RELAY_MODE.REPLY);
      default:
        return x.absorb();
    }
  }

  /** Without anybody to relay to, the client is told closer nodes, as in the original. */
  #handshakeFromClient(x: Exchange): number {
    const { relayAddressStart } = this.#handshake;
    if (relayAddressStart >= 0) {
      if (!this.#toNode(x, relayAddressStart)) return this.#refuse(x);
    } else if (!this.#toForward(x)) {
      return x.reply(DHT_ERROR.NONE, false, true);
    }
    this.#sourceTo(x, PEER_AT);
    return this.#passHandshake(x, RELAY_MODE.FROM_RELAY, PEER_AT, NONE);
  }

  /** Addresses it to where the target was announced from. */
  #toForward(x: Exchange): boolean {
    const { forwards } = this.#parts;
    if (!x.hasTarget) return false;
    const row = forwards.find(x);
    if (row < 0) return false;
    this.#copyAddress(RECEIVER_AT, forwards.bytes, forwards.addressStart(row));
    return true;
  }

  /** Addresses a handshake to a relay the client names: where it was announced from, or a node. */
  #toNode(x: Exchange, at: number): boolean {
    if (!x.hasTarget) return false;
    if (this.#isForward(x, at)) return true;
    this.#copyAddress(RECEIVER_AT, x.bytes, at);
    for (let i = 0; i < ADDRESS_BYTES; i++) this.#address[i] = x.bytes[at + i];
    blake2b256(this.#id, this.#address);
    return this.#parts.table.find(this.#id, 0) >= 0;
  }

  /** Addresses a hole punch to a server the client names: the announcer, or who just answered. */
  #toPeer(x: Exchange): boolean {
    const at = this.#holepunch.peerAddressStart;
    if (this.#isForward(x, at)) return true;
    if (!x.hasTarget) return false;
    this.#copyAddress(RECEIVER_AT, x.bytes, at);
    const host = readHost(x.bytes, at) | 0;
    return this.#parts.servers.has(host, readPort(x.bytes, at), 0, x.targetHash, x.nowMs);
  }

  /** Whether the address at `at` is the target's announcer's, which it is addressed to then. */
  #isForward(x: Exchange, at: number): boolean {
    if (!this.#toForward(x)) return false;
    for (let i = 0; i < ADDRESS_BYTES; i++) {
      if (this.#scratch[RECEIVER_AT + i] !== x.bytes[at + i]) return false;
    }
    return true;
  }

  /** Addresses a server's answer to the client it is for. */
  #toClient(x: Exchange, at: number): boolean {
    if (at < 0 || !x.hasTarget) return false;
    this.#copyAddress(RECEIVER_AT, x.bytes, at);
    const host = readHost(x.bytes, at) | 0;
    const port = readPort(x.bytes, at);
    return this.#parts.clients.has(host, port, x.reader.tid, x.targetHash, x.nowMs);
  }

  /** Whether sender and receiver have some of their rate left; if so, nothing is spent yet. */
  #mayPass(x: Exchange): boolean {
    if (x.isSpared) return true;
    const { i32 } = x.slab;
    const at = x.addressWord;
    const { bySource } = this.#parts;
    if (!bySource.has(prefixHigh(i32, at), prefixLow(i32, at), x.nowMs)) return false;
    const host = readHost(this.#scratch, RECEIVER_AT) | 0;
    const port = readPort(this.#scratch, RECEIVER_AT);
    if (this.#rateTo(x).has(host, port, x.nowMs)) return true;
    if (!x.isProven) x.mark(SLOT_UNPROVEN);
    return false;
  }

  #rateTo(x: Exchange): RateSketch {
    return x.isProven ? this.#parts.byReceiverProven : this.#parts.byReceiver;
  }

  /** Counts a message that passes on: against its rates, and for the reply that may follow it. */
  #spend(x: Exchange, mode: number): void {
    const { i32 } = x.slab;
    const at = x.addressWord;
    const { nowMs } = x;
    if (mode === RELAY_MODE.FROM_RELAY) {
      const client = readHost(x.bytes, x.base + SLOT_ADDRESS + 12) | 0;
      this.#parts.clients.note(client, x.port, x.reader.tid, x.targetHash, nowMs);
    }
    if (x.isSpared) return;
    this.#parts.bySource.take(prefixHigh(i32, at), prefixLow(i32, at), nowMs);
    const host = readHost(this.#scratch, RECEIVER_AT) | 0;
    this.#rateTo(x).take(host, readPort(this.#scratch, RECEIVER_AT), nowMs);
  }

  /** Counts a message that passes back, for which `clients` has a credit; notes its server. */
  #spendCredit(x: Exchange): void {
    const { clients, servers } = this.#parts;
    const { reader, targetHash, nowMs } = x;
    const host = readHost(this.#scratch, RECEIVER_AT) | 0;
    clients.take(host, readPort(this.#scratch, RECEIVER_AT), reader.tid, targetHash, nowMs);
    const server = readHost(x.bytes, x.base + SLOT_ADDRESS + 12) | 0;
    servers.note(server, x.port, 0, targetHash, nowMs);
  }

  /** Whether anything is sent to such an address. */
  #mayReach(): boolean {
    const host = readHost(this.#scratch, RECEIVER_AT);
    if (readPort(this.#scratch, RECEIVER_AT) === 0 || isReservedIpv4(host)) return false;
    return this.#parts.isPrivate || !isPrivateIpv4(host);
  }

  #refuse(x: Exchange): number {
    x.counters[COUNTER.dhtRelayRefused]++;
    return x.drop(COUNTER.dropRelayRefused);
  }

  /** Passes the handshake on, with the addresses in `#scratch` at `peerAt` and `relayAt`. */
  #passHandshake(x: Exchange, mode: number, peerAt: number, relayAt: number): number {
    const { noiseStart, noiseLength } = this.#handshake;
    const length = handshakeBytes(noiseLength, peerAt >= 0, relayAt >= 0);
    const slot = this.#take(x, mode, length);
    if (slot < 0) return this.#refuse(x);
    const at = this.#writeHead(x, slot, mode, length);
    const { bytes } = x;
    const scratch = this.#scratch;
    writeHandshake(bytes, at, mode, bytes, noiseStart, noiseLength, scratch, peerAt, relayAt);
    return this.#send(x, slot, at + length);
  }

  /** Passes the hole punch on; whoever gets it is told where it came from. */
  #passHolepunch(x: Exchange, mode: number): number {
    const { id, payloadStart, payloadLength } = this.#holepunch;
    const length = holepunchBytes(id, payloadLength, true);
    const slot = this.#take(x, mode, length);
    if (slot < 0) return this.#refuse(x);
    this.#sourceTo(x, PEER_AT);
    const at = this.#writeHead(x, slot, mode, length);
    const { bytes } = x;
    const scratch = this.#scratch;
    writeHolepunch(bytes, at, mode, id, bytes, payloadStart, payloadLength, scratch, PEER_AT);
    return this.#send(x, slot, at + length);
  }

  /**
   * A slot of our own to the receiver, for a value of so many bytes; -1: it is not to be sent, and
   * then it costs nobody anything.
   */
  #take(x: Exchange, mode: number, valueLength: number): number {
    const length = RELAY_HEAD_BYTES + varintBytes(valueLength) + valueLength;
    if (length > MAX_DATAGRAM_BYTES || !this.#mayReach()) return NONE;
    const isBack = mode === RELAY_MODE.REPLY;
    if (!isBack && !this.#mayPass(x)) return NONE;
    const { own } = this.#parts;
    const slot = own.take(x.slab.i32, x.base >> 2);
    if (slot < 0) return NONE;
    own.redirect(slot, this.#scratch, RECEIVER_AT);
    if (isBack) this.#spendCredit(x);
    else this.#spend(x, mode);
    return slot;
  }

  /** Writes a reply's or a request's head into the slot; returns where the value goes. */
  #writeHead(x: Exchange, slot: number, mode: number, valueLength: number): number {
    const { bytes, reader } = x;
    const start = slot * SLOT_BYTES + SLOT_HEADER_BYTES;
    const isReply = mode === RELAY_MODE.REPLY;
    const hasId = x.showsId(x.slab.u16[(x.base + SLOT_RECEIVER) >> 1]);
    const flags = FLAG_VALUE | (hasId ? FLAG_ID : 0);
    let at = isReply
      ? writeReplyHead(bytes, start, flags, reader.tid)
      : writeRequestHead(bytes, start, flags | FLAG_TARGET, reader.tid);
    for (let i = 0; i < ADDRESS_BYTES; i++) bytes[at + i] = this.#scratch[RECEIVER_AT + i];
    at += ADDRESS_BYTES;
    if (hasId) at = x.writeId(bytes, at);
    if (!isReply) {
      bytes[at++] = reader.command;
      for (let i = 0; i < ID_BYTES; i++) bytes[at + i] = x.target[i];
      at += ID_BYTES;
    }
    return writeVarint(bytes, at, valueLength);
  }

  /** Sends the slot, whose datagram ends at `end`; the request itself gets no reply. */
  #send(x: Exchange, slot: number, end: number): number {
    x.counters[COUNTER.dhtRelayed]++;
    this.#parts.own.send(slot, end - (slot * SLOT_BYTES + SLOT_HEADER_BYTES));
    return x.absorb();
  }

  /** Copies where the message came from to `#scratch` at `to`, as the wire has it. */
  #sourceTo(x: Exchange, to: number): void {
    writeAddress(this.#scratch, to, x.bytes, x.base + SLOT_ADDRESS, x.port);
  }

  #copyAddress(to: number, from: Uint8Array, at: number): void {
    for (let i = 0; i < ADDRESS_BYTES; i++) this.#scratch[to + i] = from[at + i];
  }
}
