/** A network for multicast tests: interfaces that come and go, sockets that note what is done. */
import type { RemoteInfo, Socket, SocketOptions } from 'node:dgram';
import { EventEmitter } from 'node:events';
import type { NetworkInterfaceInfo } from 'node:os';
import { type DecodedPacket, decode } from 'dns-packet';

export interface FakeSent {
  readonly bytes: Buffer;
  readonly port: number;
  /** As given to `send`. */
  readonly address: string;
  /** What setMulticastInterface had been called with last. */
  readonly via: string;
}

/** What is used of dgram.Socket. As with the real one, `bind` with a `lookup` answers at once. */
export class FakeSocket extends EventEmitter {
  readonly options: SocketOptions;
  readonly network: FakeNetwork;
  readonly sent: FakeSent[] = [];
  readonly memberships = new Set<string>();
  readonly settings: string[] = [];
  bound: object | null = null;
  via = '';
  isClosed = false;
  /** Memberships of devices that are gone, which cannot be left. */
  stale = 0;
  /** Datagrams that wait because the system's buffer is full. */
  queued = 0;

  constructor(options: SocketOptions, network: FakeNetwork) {
    super();
    this.options = options;
    this.network = network;
  }

  get is6(): boolean {
    return this.options.type === 'udp6';
  }

  bind(options: object): void {
    this.bound = options;
    const { holdsBind, bindErrors } = this.network;
    if (holdsBind) return;
    const code = bindErrors.get(this.is6 ? 6 : 4);
    if (code === undefined) this.emit('listening');
    else this.emit('error', failure(code));
  }

  addMembership(group: string, local: string): void {
    const key = `${group} ${local}`;
    if (this.memberships.has(key)) throw failure('EADDRINUSE');
    if (!this.network.has(local)) throw failure('ENODEV');
    if (this.memberships.size + this.stale >= this.network.mostMemberships)
      throw failure('ENOBUFS');
    this.memberships.add(key);
  }

  dropMembership(group: string, local: string): void {
    if (!this.memberships.delete(`${group} ${local}`)) throw failure('EADDRNOTAVAIL');
  }

  setRecvBufferSize(bytes: number): void {
    this.settings.push(`receive buffer ${bytes}`);
  }

  setMulticastInterface(local: string): void {
    if (!this.network.has(local)) throw failure('EADDRNOTAVAIL');
    this.via = local;
  }

  setMulticastTTL(ttl: number): void {
    this.settings.push(`multicast ttl ${ttl}`);
  }

  setTTL(ttl: number): void {
    this.settings.push(`ttl ${ttl}`);
  }

  setMulticastLoopback(isOn: boolean): void {
    this.settings.push(`loopback ${isOn}`);
  }

  getSendQueueCount(): number {
    return this.queued;
  }

  send(
    bytes: Uint8Array,
    offset: number,
    length: number,
    port: number,
    address: string,
    done: (error: Error | null) => void,
  ): void {
    if (port < 1 || port > 65_535) throw failure('ERR_SOCKET_BAD_PORT');
    const scope = address.split('%')[1];
    if (scope !== undefined && !this.network.has(`::%${scope}`)) {
      done(failure('EINVAL'));
      return;
    }
    const copy = Buffer.from(bytes.slice(offset, offset + length));
    this.sent.push({ bytes: copy, port, address, via: this.via });
    done(null);
  }

  close(done: () => void = () => undefined): void {
    this.isClosed = true;
    done();
  }
}

export class FakeNetwork {
  interfaces: Record<string, NetworkInterfaceInfo[]> = {};
  readonly bindErrors = new Map<4 | 6, string>();
  /** What a socket may have. */
  mostMemberships = Number.POSITIVE_INFINITY;
  /** Binding does not end by itself: a test emits `listening`. */
  holdsBind = false;
  sockets: FakeSocket[] = [];

  /** For those who are given an injected `create`, `list`. */
  readonly create = (options: SocketOptions): Socket => {
    const socket = new FakeSocket(options, this);
    this.sockets.push(socket);
    return socket as unknown as Socket;
  };

  readonly list = (): Record<string, NetworkInterfaceInfo[]> => this.interfaces;

  get four(): FakeSocket {
    return this.#last(false);
  }

  get six(): FakeSocket {
    return this.#last(true);
  }

  /** Takes a device away and puts another in its place, with the same addresses. */
  replace(name: string): void {
    for (const socket of this.sockets) {
      for (const key of [...socket.memberships]) {
        const local = key.split(' ')[1];
        const isOfIt =
          local === `::%${name}` || this.interfaces[name].some(({ address }) => address === local);
        if (isOfIt && socket.memberships.delete(key)) socket.stale++;
      }
    }
  }

  /** The socket in use: of those opened again, the last. */
  #last(is6: boolean): FakeSocket {
    return this.sockets.findLast((socket) => socket.is6 === is6) as FakeSocket;
  }

  /** Puts an interface up; addresses as `10.0.0.1/24` or `fe80::1/64`. */
  up(name: string, ...addresses: string[]): void {
    const index = Number(/\d+$/.exec(name)?.[0] ?? 0) + 2;
    this.interfaces = {
      ...this.interfaces,
      [name]: addresses.map((cidr) => interfaceInfo(cidr, index)),
    };
  }

  down(name: string): void {
    const { [name]: _gone, ...left } = this.interfaces;
    this.interfaces = left;
  }

  /** Whether `local`, an address or `::%name`, is of an interface that is up. */
  has(local: string): boolean {
    if (local.startsWith('::%')) return local.slice(3) in this.interfaces;
    return Object.values(this.interfaces).some((infos) =>
      infos.some(({ address }) => address === local),
    );
  }

  /** A datagram comes in. */
  receive(bytes: Uint8Array, address: string, port = 5353): void {
    const socket = address.includes(':') ? this.six : this.four;
    const family = address.includes(':') ? 'IPv6' : 'IPv4';
    const from: RemoteInfo = { address, family, port, size: bytes.length };
    socket.emit('message', Buffer.from(bytes), from);
  }

  /** What has been sent since it was asked last: address, port, interface and message. */
  take(): { to: string; port: number; via: string; message: DecodedPacket }[] {
    return this.sockets.flatMap((socket) =>
      socket.sent.splice(0).map(({ bytes, address, port, via }) => ({
        to: address,
        port,
        via: socket.is6 ? '' : via,
        message: decode(bytes),
      })),
    );
  }
}

function interfaceInfo(cidr: string, index: number): NetworkInterfaceInfo {
  const [address] = cidr.split('/');
  const common = {
    address,
    netmask: '',
    mac: `02:00:00:00:00:0${index % 10}`,
    internal: address === '127.0.0.1' || address === '::1',
    cidr,
  };
  if (!address.includes(':')) return { ...common, family: 'IPv4' };
  return { ...common, family: 'IPv6', scopeid: address.startsWith('fe80') ? index : 0 };
}

export function failure(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code });
}
