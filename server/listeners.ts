/**
 * Opens the sockets: the two of the DHT first, so that they have the numbers 0 and 1; then those of
 * the listen list of DNS, for each address one UDP socket, and TCP on the same port. An
 * address the user named must open, for both. Of the default list each address that does not is a
 * notice with what to do about it, as long as one opens.
 */
import type { Listening } from './appliance.ts';
import type { Clock } from './clock.ts';
import { type House, mainCounters, SLOTS_PER_RECEIVER, TCP_SLOTS } from './lanes/house.ts';
import { descriptorNotice } from './net/descriptor-limit.ts';
import { describeBackend, openUdp } from './net/open-udp.ts';
import { SOCKET_DHT, SOCKET_DNS } from './net/protocol-table.ts';
import type { Receiver } from './net/receiver.ts';
import { TcpReceiver } from './net/tcp/tcp-receiver.ts';
import type { TurnHooks, UdpSocket } from './net/udp-socket.ts';
import type { ApplianceConfig, DhtConfig, ListenAddress } from './options/config.ts';
import { explainListenError } from './options/listen-error.ts';

/** Free ports tried until one is free for UDP and TCP. */
const PORT_TRIES = 20;
/** Ports of the DHT tried from the one asked for on, as npm hyperdht does. */
const DHT_PORT_TRIES = 5;
const OTHER_DHT_PORT = '--dht 0.0.0.0:0 (any port) or --dht off';

type OnBatch = (receiver: Receiver, use: number, slots: Int32Array, count: number) => void;

export interface DhtSockets {
  readonly server: UdpSocket;
  readonly client: UdpSocket;
}

export class Listeners {
  readonly #sockets: UdpSocket[] = [];
  readonly #tcp: TcpReceiver | null;
  readonly #house: House;
  readonly #config: ApplianceConfig;
  readonly listening: Listening[] = [];
  /** The sockets of the DHT; null: it has none. */
  dht: DhtSockets | null = null;

  constructor(config: ApplianceConfig, house: House, clock: Clock) {
    const { tcpConnections, tcpConnectionsPerPrefix, tcpIdleMs } = config.limits;
    this.#house = house;
    this.#config = config;
    this.#tcp =
      tcpConnections === 0
        ? null
        : new TcpReceiver({
            slab: house.slab,
            overflow: house.overflow,
            firstSlot: house.overflow.firstSlot,
            slotCount: TCP_SLOTS,
            receiver: house.udpReceivers,
            counters: mainCounters(house),
            clock,
            maxConnections: tcpConnections,
            maxConnectionsPerPrefix: tcpConnectionsPerPrefix,
            idleMs: tcpIdleMs,
          });
  }

  /** By number: what slots may name as their receiver. */
  get receivers(): readonly Receiver[] {
    return this.#tcp === null ? this.#sockets : [...this.#all(), this.#tcp];
  }

  /** By receiver: descriptors that answers may be sent on from other threads; -1: none. */
  get descriptors(): readonly number[] {
    return [...this.#all().map((socket) => socket.fd), -1];
  }

  /** Opens both transports of an address; rejects with the system's error, nothing left open. */
  async open(at: ListenAddress): Promise<void> {
    for (let tries = 1; ; tries++) {
      const socket = await this.#openUdp(at);
      try {
        if (this.#tcp !== null) await this.#tcp.listen(at.address, socket.port);
      } catch (error) {
        await socket.close();
        // Any free port for UDP need not be free for TCP.
        if (at.port === 0 && tries < PORT_TRIES && isInUse(error)) continue;
        throw error;
      }
      this.#sockets.push(socket);
      const { address, port, backend, receiveBufferBytes } = socket;
      const where = { address, port, backend, receiveBufferBytes };
      this.listening.push({ ...where, transport: 'udp' });
      if (this.#tcp !== null) this.listening.push({ ...where, transport: 'tcp' });
      return;
    }
  }

  /** Opens the two sockets of the DHT, before all others; rejects with the system's error. */
  async openDht({ at, anyPort }: DhtConfig): Promise<void> {
    const server = await this.#openPorts(at, anyPort);
    this.#sockets.push(server);
    try {
      const client = await this.#openUdp({ address: at.address, port: 0 });
      this.#sockets.push(client);
      this.dht = { server, client };
    } catch (error) {
      this.#sockets.pop();
      await server.close();
      throw error;
    }
  }

  start(onBatch: OnBatch, hooks: TurnHooks): void {
    for (const socket of this.#sockets) {
      const isDht = socket === this.dht?.server || socket === this.dht?.client;
      const use = isDht ? SOCKET_DHT : SOCKET_DNS;
      socket.start((slots, count) => onBatch(socket, use, slots, count), hooks);
    }
    const tcp = this.#tcp;
    tcp?.start((slots, count) => {
      onBatch(tcp, SOCKET_DNS, slots, count);
      hooks.onTurnEnd?.();
    });
  }

  /** Nothing more is received; what is in flight can still be answered. */
  stop(): void {
    for (const socket of this.#sockets) socket.stop();
    this.#tcp?.stop();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sockets.map((socket) => socket.close()), this.#tcp?.close()]);
  }

  /** The port asked for; with `isAny` the next ones when it is taken, then any. */
  async #openPorts(at: ListenAddress, isAny: boolean): Promise<UdpSocket> {
    for (let tries = 0; ; tries++) {
      const port = tries < DHT_PORT_TRIES ? at.port + tries : 0;
      try {
        return await this.#openUdp({ address: at.address, port });
      } catch (error) {
        if (isAny && port !== 0 && isInUse(error)) continue;
        throw error;
      }
    }
  }

  #openUdp(at: ListenAddress): Promise<UdpSocket> {
    const receiver = this.#sockets.length;
    return openUdp(
      {
        slab: this.#house.slab,
        firstSlot: receiver * SLOTS_PER_RECEIVER,
        slotCount: SLOTS_PER_RECEIVER,
        receiver,
        counters: mainCounters(this.#house),
        address: at.address,
        port: at.port,
      },
      this.#config.udpBackend,
    );
  }

  /** The UDP sockets at their numbers; of those that did not open, the first stands in. */
  #all(): UdpSocket[] {
    const { udpReceivers } = this.#house;
    return Array.from({ length: udpReceivers }, (_, i) => this.#sockets[i] ?? this.#sockets[0]);
  }
}

/**
 * Opens `config.dns`. Rejects with an Error whose message tells what failed and what to do; its
 * cause is the system's error, of several the first.
 */
export async function openListeners(
  config: ApplianceConfig,
  house: House,
  clock: Clock,
): Promise<Listeners> {
  const { dns, udpBackend, notice, embedded } = config;
  const listeners = new Listeners(config, house, clock);
  try {
    const { reason } = describeBackend(udpBackend);
    if (embedded === undefined) notice(`udp backend: ${reason}`);
    if (config.dht !== null) await openDht(config.dht, listeners, notice);
    if (dns === 'off') return listeners;
    const failures: string[] = [];
    let cause: unknown;
    for (const at of dns) {
      try {
        await listeners.open(at);
      } catch (error) {
        const line = explainListenError(error, at, embedded?.otherPort);
        if (config.dnsRequired && !isMissingIpv6(error, at))
          throw new Error(line, { cause: error });
        cause ??= error;
        failures.push(line);
      }
    }
    if (listeners.listening.length === 0) throw new Error(failures.join('\n'), { cause });
    for (const line of failures) notice(line);
    const tooMany = descriptorNotice(config.limits.tcpConnections);
    if (tooMany !== null) notice(tooMany);
    return listeners;
  } catch (error) {
    await listeners.close();
    throw error;
  }
}

/** Opens the DHT's sockets; the default address is no loss when somebody else has it. */
async function openDht(
  dht: DhtConfig,
  listeners: Listeners,
  notice: (line: string) => void,
): Promise<void> {
  try {
    await listeners.openDht(dht);
  } catch (error) {
    const line = explainListenError(error, dht.at, OTHER_DHT_PORT);
    if (dht.isRequired) throw new Error(line, { cause: error });
    notice(`no DHT: ${line}`);
  }
}

/** The `::` that a bare port stands for is no loss on a machine without IPv6. */
function isMissingIpv6(error: unknown, at: ListenAddress): boolean {
  return at.ifIpv6 === true && ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(codeOf(error));
}

function isInUse(error: unknown): boolean {
  return codeOf(error) === 'EADDRINUSE';
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
