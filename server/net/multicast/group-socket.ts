/** The multicast socket of one family: bound to the port of multicast DNS, in its group. */
import type { RemoteInfo, Socket, SocketOptions } from 'node:dgram';
import type { MulticastLink } from './interfaces.ts';

export const MULTICAST_PORT = 5353;
/** The groups of multicast DNS (RFC 6762 section 3). */
export const GROUP4 = '224.0.0.251';
export const GROUP6 = 'ff02::fb';
/** RFC 6762 section 11: also of what goes to one host. */
const TTL = 255;
/** Holds a burst of questions of many programs; a system may allow less. */
const RECEIVE_BUFFER_BYTES = 1 << 20;

/** As dgram.createSocket. Tests replace it. */
export type CreateSocket = (options: SocketOptions) => Socket;

export interface GroupCounts {
  /** Datagrams handed to the system, one per interface. */
  sent: number;
  sendErrors: number;
  /** Not sent: the buffer was full, and what waits in it would leave by another interface. */
  sendFull: number;
  joinErrors: number;
  /** Sockets replaced: memberships of devices that are gone had used up what one may have. */
  reopened: number;
  /** Families that could not be opened. */
  bindErrors: number;
  /** Errors of the sockets while open. */
  socketErrors: number;
}

export interface GroupHooks {
  /** Once: the family is open, or (with the error) is not to be had. */
  onOpen(error: Error | null): void;
  onMessage(bytes: Buffer, from: RemoteInfo): void;
  /** The group was joined where it was not. */
  onJoined(link: MulticastLink): void;
  /** Sending failed in a way that an interface which has gone explains. */
  onLost(): void;
}

export type Sent = (error: Error | null) => void;
/** `times`: on how many interfaces it was sent. */
export type SentGroup = (error: Error | null, times: number) => void;

/** Codes of sending errors after which the interfaces should be looked at again. */
const LOST = new Set(['EADDRNOTAVAIL', 'ENODEV', 'ENETUNREACH', 'ENETDOWN', 'EINVAL']);

/** Codes of joining when a socket has as many memberships as it may: of Linux (two), of BSD. */
const TOO_MANY = new Set(['ENOBUFS', 'ENOMEM', 'ETOOMANYREFS']);

export class GroupSocket {
  readonly family: 4 | 6;
  readonly #group: string;
  readonly #port: number;
  readonly #create: CreateSocket;
  #socket: Socket;
  /** Takes the place of the socket once it is bound. */
  #next: Socket | null = null;
  readonly #counts: GroupCounts;
  readonly #hooks: GroupHooks;
  /** What has been joined, by its key. */
  readonly #joined = new Map<string, MulticastLink>();
  /**
   * Memberships of the socket, as far as is known. It keeps those of a device that was replaced by
   * one with the same address: leaving goes by the address, and so by the new device.
   */
  #held = 0;
  #state: 'new' | 'open' | 'closed' = 'new';
  #openError: Error | null = null;

  constructor(
    family: 4 | 6,
    port: number,
    create: CreateSocket,
    counts: GroupCounts,
    hooks: GroupHooks,
  ) {
    this.family = family;
    this.#group = family === 4 ? GROUP4 : GROUP6;
    this.#port = port;
    this.#counts = counts;
    this.#hooks = hooks;
    this.#create = create;
    this.#socket = this.#make();
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** Binds; `onOpen` tells how that went, maybe before this returns. */
  open(): void {
    const socket = this.#socket;
    socket.on('error', (error) => {
      if (this.#state === 'new') this.#failToOpen(error);
      else this.#counts.socketErrors++;
    });
    socket.once('listening', () => {
      if (this.#state !== 'new') return;
      this.#state = 'open';
      this.#setUp(socket);
      this.#hooks.onOpen(null);
    });
    this.#bind(socket);
  }

  /**
   * Leaves what is no longer among `links` and joins what is new. What was joined before is joined
   * once more: that fails as long as the system knows of it, and heals it when it does not, because
   * the device was taken away and put back in between.
   */
  update(links: readonly MulticastLink[]): void {
    if (!this.isOpen) return;
    const wanted = new Map(
      links.filter(({ family }) => family === this.family).map((link) => [link.key, link]),
    );
    for (const [key, link] of this.#joined) {
      if (wanted.has(key)) continue;
      this.#joined.delete(key);
      this.#leave(link);
    }
    let isFull = false;
    for (const [key, link] of wanted) {
      const isNew = !this.#joined.has(key);
      const error = this.#join(link);
      isFull ||= TOO_MANY.has(error?.code ?? '');
      if (error === null || (isNew && error.code === 'EADDRINUSE')) {
        this.#joined.set(key, link);
        this.#hooks.onJoined(link);
      } else if (isNew) {
        this.#counts.joinErrors++;
      }
    }
    if (isFull && this.#held > this.#joined.size) this.#reopen(links);
  }

  /**
   * Sends to the group on every interface joined, or on the one called `only`. `done` comes when
   * the system has taken it everywhere: with an error when it left nowhere, be it that there is no
   * interface or that the socket is not open.
   */
  sendGroup(bytes: Uint8Array, port: number, only: string | null, done: SentGroup): void {
    if (!this.isOpen) {
      done(this.#notOpen(), 0);
      return;
    }
    const links = this.#targets(only);
    let left = links.length;
    let failed = 0;
    if (left === 0) {
      done(new Error('no network interface to send multicast on'), 0);
      return;
    }
    const sent: Sent = (error) => {
      if (error !== null) failed++;
      if (--left > 0) return;
      done(failed === links.length ? error : null, links.length - failed);
    };
    for (const link of links) this.#sendOn(link, bytes, port, sent);
  }

  /** Sends to one host, once. */
  sendTo(bytes: Uint8Array, port: number, address: string, done: Sent): void {
    this.#send(bytes, port, address, done);
  }

  /** Closes; memberships end with the socket. */
  close(done: () => void): void {
    if (this.#state === 'closed') {
      done();
      return;
    }
    this.#state = 'closed';
    this.#joined.clear();
    this.#dropNext();
    this.#socket.close(done);
  }

  #make(): Socket {
    return this.#create({
      type: this.family === 4 ? 'udp4' : 'udp6',
      reuseAddr: true,
      ipv6Only: this.family === 6,
      // Addresses are numeric. Answered at once, a datagram leaves within `send`, by the interface
      // that was set just before.
      lookup: (host, _options, done) => done(null, host, this.family),
    });
  }

  #bind(socket: Socket): void {
    const address = this.family === 4 ? '0.0.0.0' : '::';
    socket.bind({ address, port: this.#port, exclusive: true });
  }

  /** What a bound socket needs to be used. */
  #setUp(socket: Socket): void {
    this.#set(() => socket.setMulticastTTL(TTL));
    this.#set(() => socket.setTTL(TTL));
    // Other processes of this machine are to hear us.
    this.#set(() => socket.setMulticastLoopback(true));
    this.#set(() => socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES));
    socket.on('message', (bytes, from) => this.#hooks.onMessage(bytes, from));
  }

  /** Goes on with a new socket, which has no memberships yet; with the old one when that fails. */
  #reopen(links: readonly MulticastLink[]): void {
    if (this.#next !== null) return;
    const next = this.#make();
    this.#next = next;
    next.on('error', () => {
      this.#counts.socketErrors++;
      if (this.#next === next) this.#dropNext();
    });
    next.once('listening', () => {
      if (this.#next !== next) return;
      this.#next = null;
      this.#counts.reopened++;
      const old = this.#socket;
      this.#socket = next;
      this.#joined.clear();
      this.#held = 0;
      this.#setUp(next);
      old.removeAllListeners('message');
      this.#set(() => old.close());
      this.update(links);
    });
    this.#bind(next);
  }

  #dropNext(): void {
    const next = this.#next;
    this.#next = null;
    if (next !== null) this.#set(() => next.close());
  }

  #notOpen(): Error {
    const why = this.#openError === null ? '' : `: ${this.#openError.message}`;
    return new Error(`the IPv${this.family} multicast socket is not open${why}`);
  }

  #failToOpen(error: Error): void {
    this.#state = 'closed';
    this.#openError = error;
    this.#counts.bindErrors++;
    // A socket that is not bound holds its descriptor all the same.
    this.#set(() => this.#socket.close());
    this.#hooks.onOpen(error);
  }

  #targets(only: string | null): MulticastLink[] {
    const links = [...this.#joined.values()];
    if (only !== null) return links.filter((link) => link.name === only);
    const proper = links.filter((link) => !link.isSpare);
    return proper.length > 0 ? proper : links;
  }

  #sendOn(link: MulticastLink, bytes: Uint8Array, port: number, done: Sent): void {
    if (this.family === 6) {
      // The scope says where; it stays with the datagram while that waits.
      const scope = link.local.slice(link.local.indexOf('%'));
      this.#send(bytes, port, this.#group + scope, done);
      return;
    }
    if (this.#socket.getSendQueueCount() > 0) {
      this.#counts.sendFull++;
      done(new Error('the multicast socket is busy'));
      return;
    }
    try {
      this.#socket.setMulticastInterface(link.local);
    } catch (error) {
      this.#sendFailed(error as NodeJS.ErrnoException);
      done(error as Error);
      return;
    }
    this.#send(bytes, port, this.#group, done);
  }

  #send(bytes: Uint8Array, port: number, address: string, done: Sent): void {
    if (!this.isOpen) {
      done(this.#notOpen());
      return;
    }
    const sent: Sent = (error) => {
      if (error === null) this.#counts.sent++;
      else this.#sendFailed(error);
      done(error);
    };
    try {
      this.#socket.send(bytes, 0, bytes.length, port, address, sent);
    } catch (error) {
      // A port or an address that is none: thrown, and not told.
      sent(error as Error);
    }
  }

  #sendFailed(error: NodeJS.ErrnoException): void {
    this.#counts.sendErrors++;
    if (LOST.has(error.code ?? '')) this.#hooks.onLost();
  }

  #join(link: MulticastLink): NodeJS.ErrnoException | null {
    try {
      this.#socket.addMembership(this.#group, link.local);
      this.#held++;
      return null;
    } catch (error) {
      return error as NodeJS.ErrnoException;
    }
  }

  #leave(link: MulticastLink): void {
    // The system has often left by itself, with the interface.
    this.#set(() => {
      this.#socket.dropMembership(this.#group, link.local);
      this.#held--;
    });
  }

  #set(change: () => void): void {
    try {
      change();
    } catch {
      this.#counts.socketErrors++;
    }
  }
}
