/**
 * Opens the sockets of a listen list: for each address one UDP socket, and TCP on the same port. An
 * address the user named must open, for both. Of the default list each address that does not is a
 * notice with what to do about it, as long as one opens.
 */
import type { Listening } from './appliance.ts';
import type { Clock } from './clock.ts';
import { type House, mainCounters, SLOTS_PER_RECEIVER, TCP_SLOTS } from './lanes/house.ts';
import { descriptorNotice } from './net/descriptor-limit.ts';
import { describeBackend, openUdp } from './net/open-udp.ts';
import type { Receiver } from './net/receiver.ts';
import { TcpReceiver } from './net/tcp/tcp-receiver.ts';
import type { TurnHooks, UdpSocket } from './net/udp-socket.ts';
import type { ApplianceConfig, ListenAddress } from './options/config.ts';
import { explainListenError } from './options/listen-error.ts';

/** Free ports tried until one is free for UDP and TCP. */
const PORT_TRIES = 20;

type OnBatch = (receiver: Receiver, slots: Int32Array, count: number) => void;

export class Listeners {
  readonly #sockets: UdpSocket[] = [];
  readonly #tcp: TcpReceiver | null;
  readonly #house: House;
  readonly #config: ApplianceConfig;
  readonly listening: Listening[] = [];

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

  start(onBatch: OnBatch, hooks: TurnHooks): void {
    for (const socket of this.#sockets) {
      socket.start((slots, count) => onBatch(socket, slots, count), hooks);
    }
    const tcp = this.#tcp;
    tcp?.start((slots, count) => {
      onBatch(tcp, slots, count);
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
  if (dns === 'off') return listeners;
  try {
    const { reason } = describeBackend(udpBackend);
    if (embedded === undefined) notice(`udp backend: ${reason}`);
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
