/**
 * The socket that npm multicast-dns is given: what it uses of a dgram.Socket, over one socket for
 * IPv4 and one for IPv6, with a guard before everything that comes in.
 *
 *   multicast-dns <-- 'message' -- admit <-- guard <-- IPv4 socket, group 224.0.0.251
 *        |                                        <--- IPv6 socket, group ff02::fb
 *        +--- send --> every interface joined, the one of an answer, or one host
 *
 * multicast-dns joins each interface once and for ever, by IPv4, and sends by one of them. Here
 * they are joined and left as they come and go, and what goes to the group leaves on all of them.
 */
import { createSocket, type RemoteInfo } from 'node:dgram';
import { EventEmitter } from 'node:events';
import { isIPv6 } from 'node:net';
import { HEADER_FLAGS } from '../../../codecs/dns/constants.ts';
import type { Clock } from '../../clock.ts';
import {
  type CreateSocket,
  GROUP4,
  GROUP6,
  type GroupCounts,
  GroupSocket,
  MULTICAST_PORT,
  type Sent,
  type SentGroup,
} from './group-socket.ts';
import { guardMulticast, MULTICAST_VERDICT } from './guard.ts';
import {
  chooseLinks,
  interfaceOf,
  isOnLink,
  type ListInterfaces,
  type MulticastLink,
  type NetInterface,
  readInterfaces,
} from './interfaces.ts';

/** The address that stands for both groups on every interface. */
export const ALL_GROUPS = '*';
/** How often the interfaces are looked at: a new one works within it, as with multicast-dns. */
export const POLL_MS = 5000;
/** With a reason (a question, a failure) they are looked at earlier, but not more often. */
export const LEAST_POLL_MS = 1000;
/** Messages kept until the sockets are open: questions of a program's first moment. */
const MAX_EARLY = 64;

export interface MulticastSocketOptions {
  /** Names or addresses; null: every interface that is up. */
  readonly interfaces: readonly string[] | null;
  readonly clock: Pick<Clock, 'now' | 'every'>;
  /** Asked behind the guard; what it refuses is not decoded. */
  readonly admit: (bytes: Buffer, from: RemoteInfo) => boolean;
  /** An interface was joined, at the start or later. */
  readonly onJoined: (link: MulticastLink) => void;
  readonly list?: ListInterfaces;
  readonly create?: CreateSocket;
  /** Default 5353: another one only for tests. */
  readonly port?: number;
}

export interface MulticastCounts extends GroupCounts {
  received: number;
  dropTooShort: number;
  dropTooLong: number;
  dropOpcode: number;
  dropCounts: number;
  /** Malformed, or costly to decode. */
  dropCostly: number;
  /** From port 0, which nobody has; a response from another port than 5353 (RFC 6762 section 6). */
  dropPort: number;
  /** From another network than those of the interfaces in use. */
  dropOffLink: number;
  /** Refused by `admit`. */
  dropNotAdmitted: number;
}

export interface MulticastSocketEvents {
  message: [bytes: Buffer, from: RemoteInfo];
  listening: [];
  error: [error: Error];
  close: [];
}

export class MulticastSocket extends EventEmitter<MulticastSocketEvents> {
  readonly counts: MulticastCounts = {
    received: 0,
    dropTooShort: 0,
    dropTooLong: 0,
    dropOpcode: 0,
    dropCounts: 0,
    dropCostly: 0,
    dropPort: 0,
    dropOffLink: 0,
    dropNotAdmitted: 0,
    sent: 0,
    sendErrors: 0,
    sendFull: 0,
    joinErrors: 0,
    reopened: 0,
    bindErrors: 0,
    socketErrors: 0,
  };
  readonly #options: MulticastSocketOptions;
  readonly #port: number;
  readonly #four: GroupSocket;
  readonly #six: GroupSocket;
  #interfaces: readonly NetInterface[] = [];
  #links: readonly MulticastLink[] = [];
  #polledAt = Number.NEGATIVE_INFINITY;
  #stopPolling: (() => void) | null = null;
  #opening = 2;
  #early: { readonly send: () => void; readonly done: Sent }[] = [];
  #isClosed = false;

  /** Opens nothing before `open`. */
  constructor(options: MulticastSocketOptions) {
    super();
    this.#options = options;
    this.#port = options.port ?? MULTICAST_PORT;
    this.#four = this.#family(4);
    this.#six = this.#family(6);
  }

  /**
   * Binds and joins. Event `listening` when that is done, maybe before this returns. Event `error`
   * when port 5353 cannot be had for IPv4 (EADDRINUSE, EACCES); a machine without IPv6, or where
   * somebody keeps that port of IPv6 for himself, is served by IPv4.
   */
  open(): void {
    this.#four.open();
    this.#six.open();
  }

  /** The interfaces as last seen. */
  get interfaces(): readonly NetInterface[] {
    return this.#interfaces;
  }

  /** As `interfaceOf`, by a fresh look when none is found. */
  interfaceOf(address: string): NetInterface | null {
    const found = interfaceOf(this.#interfaces, address);
    if (found !== null || !this.refresh()) return found;
    return interfaceOf(this.#interfaces, address);
  }

  /** Whether `address` is of the link of an interface in use, by a fresh look when it is not. */
  isOnLink(address: string): boolean {
    return this.#isOnLink(address) || (this.refresh() && this.#isOnLink(address));
  }

  /** Looks at the interfaces now, unless that has just been done; whether it was done. */
  refresh(): boolean {
    const now = this.#options.clock.now();
    if (this.#isClosed || now - this.#polledAt < LEAST_POLL_MS) return false;
    this.#polledAt = now;
    this.#interfaces = readInterfaces(this.#options.list);
    const links = chooseLinks(this.#interfaces, this.#options.interfaces);
    this.#links = links;
    this.#four.update(links);
    this.#six.update(links);
    return true;
  }

  /**
   * Sends bytes[offset..offset + length). To `*`: both groups on all interfaces; to a group, or a
   * group and an interface (`224.0.0.251%eth0`): one family, on all or on that interface; else to
   * one host.
   */
  send(
    bytes: Uint8Array,
    offset: number,
    length: number,
    port: number,
    address: string,
    done: Sent = () => undefined,
  ): void {
    const message = bytes.subarray(offset, offset + length);
    if (this.#isClosed) {
      done(closed());
    } else if (this.#opening === 0) {
      this.#send(message, port, address, done);
    } else if (this.#early.length < MAX_EARLY) {
      this.#early.push({ send: () => this.#send(message, port, address, done), done });
    } else {
      done(new Error('too many messages before the multicast socket is open'));
    }
  }

  /** Where the socket is bound, as dgram.Socket says it. */
  address(): { address: string; family: string; port: number } {
    return { address: '0.0.0.0', family: 'IPv4', port: this.#port };
  }

  close(done: () => void = () => undefined): void {
    this.#isClosed = true;
    this.#stopPolling?.();
    this.#stopPolling = null;
    const early = this.#early;
    this.#early = [];
    for (const { done: failed } of early) failed(closed());
    this.#four.close(() =>
      this.#six.close(() => {
        this.emit('close');
        done();
      }),
    );
  }

  #family(family: 4 | 6): GroupSocket {
    const { create = createSocket, onJoined } = this.#options;
    return new GroupSocket(family, this.#port, create, this.counts, {
      onOpen: (error) => this.#opened(family, error),
      onMessage: (bytes, from) => this.#receive(bytes, from),
      onJoined,
      onLost: () => void this.refresh(),
    });
  }

  #opened(family: 4 | 6, error: Error | null): void {
    if (this.#isClosed) return;
    if (error !== null && family === 4) this.emit('error', error);
    if (--this.#opening > 0) return;
    this.refresh();
    this.#stopPolling = this.#options.clock.every(POLL_MS, () => void this.refresh());
    const early = this.#early;
    this.#early = [];
    this.emit('listening');
    for (const { send } of early) send();
  }

  #isOnLink(address: string): boolean {
    const isChosen = this.#options.interfaces !== null;
    return isOnLink(this.#interfaces, address, isChosen ? this.#links : null);
  }

  #receive(bytes: Buffer, from: RemoteInfo): void {
    if (this.#isClosed) return;
    this.counts.received++;
    if (this.#passes(bytes, from)) this.emit('message', bytes, from);
  }

  /** Whether a datagram is to be decoded; counts those that are not. */
  #passes(bytes: Buffer, from: RemoteInfo): boolean {
    // Sending to port 0 is an error; what comes from there is forged.
    if (from.port === 0 || (isResponse(bytes) && from.port !== this.#port)) {
      this.counts.dropPort++;
      return false;
    }
    if (!this.isOnLink(from.address)) {
      this.counts.dropOffLink++;
      return false;
    }
    if (!this.#passesGuard(bytes)) return false;
    if (this.#options.admit(bytes, from)) return true;
    this.counts.dropNotAdmitted++;
    return false;
  }

  #passesGuard(bytes: Buffer): boolean {
    switch (guardMulticast(bytes)) {
      case MULTICAST_VERDICT.TOO_SHORT:
        this.counts.dropTooShort++;
        return false;
      case MULTICAST_VERDICT.TOO_LONG:
        this.counts.dropTooLong++;
        return false;
      case MULTICAST_VERDICT.OPCODE:
        this.counts.dropOpcode++;
        return false;
      case MULTICAST_VERDICT.COUNTS:
        this.counts.dropCounts++;
        return false;
      case MULTICAST_VERDICT.COSTLY:
        this.counts.dropCostly++;
        return false;
    }
    return true;
  }

  #send(bytes: Uint8Array, port: number, address: string, done: Sent): void {
    const [host, only = null] = address.split('%');
    if (address === ALL_GROUPS) {
      this.refresh();
      // A machine without IPv6 has lost nothing; one without port 5353 of IPv4 has.
      const sockets = this.#six.isOpen ? [this.#four, this.#six] : [this.#four];
      const all = whenAll(sockets.length, done);
      for (const socket of sockets) socket.sendGroup(bytes, port, null, all);
    } else if (host === GROUP4) {
      this.#four.sendGroup(bytes, port, only, done);
    } else if (host === GROUP6) {
      this.#six.sendGroup(bytes, port, only, done);
    } else {
      const socket = isIPv6(host) ? this.#six : this.#four;
      socket.sendTo(bytes, port, address, done);
    }
  }
}

/** Calls `done` behind the last call: with the first error when nothing was sent. */
function whenAll(count: number, done: Sent): SentGroup {
  let left = count;
  let sent = 0;
  let first: Error | null = null;
  return (error, times) => {
    sent += times;
    first ??= error;
    if (--left === 0) done(sent > 0 ? null : first);
  };
}

function isResponse(bytes: Uint8Array): boolean {
  return bytes.length > HEADER_FLAGS && (bytes[HEADER_FLAGS] & 0x80) !== 0;
}

function closed(): Error {
  return new Error('the multicast socket is closed');
}
