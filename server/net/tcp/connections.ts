/**
 * The table of TCP connections: flat columns by connection number, so that an idle one costs little
 * beside its node:net socket. A number is used again; with its generation it is not.
 *
 *   words   | remote 16 B | local 16 B |   per connection, as in a slot's header
 */
import type { Socket } from 'node:net';
import { prefixHigh, prefixLow } from '../../../workers/source-prefix.ts';
import { FreeSlots } from '../free-slots.ts';
import { ADDRESS_BYTES, scopeIndex, writeAddress } from '../ip-address.ts';
import { OrderedList } from './ordered-list.ts';
import { PrefixCounts } from './prefix-counts.ts';
import { PrefixList } from './prefix-list.ts';

/** Words of the two addresses of a connection. */
export const ADDRESS_WORDS = 8;

/** What comes is read. */
export const READING = 0;
/** Not read; it has messages, and waits for its turn at the slots. */
export const WAITING = 1;
/** Not read; it has messages, and as many in flight or as much unread output as it may have. */
export const FULL = 2;

const NUMBER = Symbol('connection number');

/** A socket that knows its number, -1 once it is out of the table. */
interface NumberedSocket extends Socket {
  [NUMBER]?: number;
}

/** The number of a socket that was added; -1 once it is removed. */
export function numberOf(socket: Socket): number {
  return (socket as NumberedSocket)[NUMBER] ?? -1;
}

export class Connections {
  readonly capacity: number;
  readonly sockets: (Socket | null)[];
  readonly generation: Int32Array;
  /** READING, WAITING or FULL. */
  readonly state: Uint8Array;
  /** 1: the client has said that it sends no more. */
  readonly ended: Uint8Array;
  readonly family: Uint8Array;
  readonly port: Uint16Array;
  readonly scope: Int32Array;
  readonly words: Int32Array;
  /** Messages in slots. */
  readonly inFlight: Int32Array;
  /** Bytes of answers the system has not taken yet. */
  readonly unsent: Int32Array;
  /** By last use: nothing in flight, nothing half received, nothing unsent. */
  readonly idle: PrefixList;
  /** By since when: they hold memory for what they send, incomplete or waiting. */
  readonly holding: OrderedList;
  /** By since when: of these, the READING ones, whose message is half received. */
  readonly incomplete: PrefixList;
  /** By last progress: they have unsent output. */
  readonly writing: OrderedList;
  /** The WAITING ones, in turn. */
  readonly waiting: OrderedList;
  readonly #lists: readonly OrderedList[];
  readonly #free: FreeSlots;
  readonly #one = new Int32Array(1);
  readonly #bytes: Uint8Array;
  readonly #prefixes: PrefixCounts;
  /** The number of each connection's network. */
  readonly #networks: Int32Array;
  /** The addresses of a connection that is not in the table yet. */
  readonly #scratch = new Int32Array(ADDRESS_WORDS);

  constructor(capacity: number) {
    this.capacity = capacity;
    this.sockets = new Array<Socket | null>(capacity).fill(null);
    this.generation = new Int32Array(capacity);
    this.state = new Uint8Array(capacity);
    this.ended = new Uint8Array(capacity);
    this.family = new Uint8Array(capacity);
    this.port = new Uint16Array(capacity);
    this.scope = new Int32Array(capacity);
    this.words = new Int32Array(capacity * ADDRESS_WORDS);
    this.inFlight = new Int32Array(capacity);
    this.unsent = new Int32Array(capacity);
    this.#networks = new Int32Array(capacity);
    this.idle = new PrefixList(capacity, this.#networks);
    this.incomplete = new PrefixList(capacity, this.#networks);
    this.holding = new OrderedList(capacity);
    this.writing = new OrderedList(capacity);
    this.waiting = new OrderedList(capacity);
    this.#lists = [this.idle, this.holding, this.incomplete, this.writing, this.waiting];
    this.#free = new FreeSlots(0, capacity);
    this.#bytes = new Uint8Array(this.words.buffer);
    this.#prefixes = new PrefixCounts(capacity);
  }

  get count(): number {
    return this.capacity - this.#free.count;
  }

  get isFull(): boolean {
    return this.#free.count === 0;
  }

  /**
   * The number of the network of `address` (/24, IPv6 /56) when it has `most` connections; -1 when
   * it has fewer.
   */
  fullNetwork(address: string, most: number): number {
    writeAddress(address, new Uint8Array(this.#scratch.buffer), 0);
    const high = prefixHigh(this.#scratch, 0);
    const low = prefixLow(this.#scratch, 0);
    return this.#prefixes.get(high, low) < most ? -1 : this.#prefixes.numberOf(high, low);
  }

  /**
   * The connection of a full network that makes room for a new one: which has been idle, or half
   * way through a message, for the longest time; -1: all are at work.
   */
  victimOf(network: number): number {
    return this.#older(this.idle.firstOf(network), this.incomplete.firstOf(network));
  }

  /** The same of all; then it may be one that has not read its answers for the longest time. */
  get victim(): number {
    const n = this.#older(this.idle.first, this.incomplete.first);
    return n === -1 ? this.writing.first : n;
  }

  /**
   * Which of an idle and an incomplete connection has been so for longer; -1 when there is neither.
   * Not the idle one first: a newcomer is idle until its question arrives.
   */
  #older(idle: number, incomplete: number): number {
    if (idle === -1) return incomplete;
    if (incomplete === -1) return idle;
    return this.incomplete.at(incomplete) < this.idle.at(idle) ? incomplete : idle;
  }

  /** The socket of connection `n` of that generation; null when it is gone. */
  find(n: number, generation: number): Socket | null {
    return this.generation[n] === generation ? this.sockets[n] : null;
  }

  /**
   * Adds a socket and returns its number; -1 when it has no addresses (any more). The table must
   * not be full.
   */
  add(socket: Socket): number {
    const { remoteAddress, remotePort, localAddress } = socket;
    if (remoteAddress === undefined || localAddress === undefined) return -1;
    this.#free.peek(this.#one, 1);
    this.#free.take(this.#one, 1, 1);
    const n = this.#one[0];
    const at = n * ADDRESS_WORDS;
    this.family[n] = writeAddress(remoteAddress, this.#bytes, at * 4);
    writeAddress(localAddress, this.#bytes, at * 4 + ADDRESS_BYTES);
    this.port[n] = remotePort ?? 0;
    this.scope[n] = scopeOrZero(remoteAddress);
    this.state[n] = READING;
    this.ended[n] = 0;
    this.inFlight[n] = 0;
    this.unsent[n] = 0;
    this.#networks[n] = this.#prefixes.add(prefixHigh(this.words, at), prefixLow(this.words, at));
    this.sockets[n] = socket;
    (socket as NumberedSocket)[NUMBER] = n;
    return n;
  }

  /** Forgets connection `n`: its answers find nobody from now on. */
  remove(n: number): void {
    const socket = this.sockets[n] as NumberedSocket | null;
    if (socket === null) return;
    socket[NUMBER] = -1;
    this.sockets[n] = null;
    this.generation[n] += 1;
    const at = n * ADDRESS_WORDS;
    this.#prefixes.subtract(prefixHigh(this.words, at), prefixLow(this.words, at));
    for (const list of this.#lists) list.remove(n);
    this.#one[0] = n;
    this.#free.release(this.#one, 1);
  }
}

/** The interface of a link-local address; 0 without one, or when it is gone. */
function scopeOrZero(address: string): number {
  if (!address.includes('%')) return 0;
  try {
    return scopeIndex(address);
  } catch {
    return 0;
  }
}
