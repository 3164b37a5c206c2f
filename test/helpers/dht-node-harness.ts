/**
 * A DhtNode on a still clock, and a network around it that is played: peers at addresses that
 * answer as npm dht-rpc does, or as a test wants them to. What the node sends is kept.
 */
import type { NodeAddress } from '../../codecs/dht/address.ts';
import { INTERNAL, K } from '../../codecs/dht/constants.ts';
import { type DhtReply, type DhtRequest, decodeRequest } from '../../codecs/dht/message.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import { readU16 } from '../../codecs/dht/varint.ts';
import { DhtNode } from '../../server/dht/node.ts';
import type { DhtNodeOptions, DhtTransport, SocketKind } from '../../server/dht/types.ts';
import { RoutingTable } from '../../workers/dht/routing-table.ts';
import { TableWriter } from '../../workers/dht/table-writer.ts';
import { Rng } from '../../workers/rng.ts';
import { StillClock } from './dht-node-clock.ts';

/** Where the node is, as its peers see it. */
export const OWN_HOST = '51.15.0.7';
export const SERVER_PORT = 49_737;
export const CLIENT_PORT = 40_001;
export const DELAY_MS = 20;

export interface Sent {
  readonly from: SocketKind;
  readonly to: NodeAddress;
  readonly request: DhtRequest;
  readonly at: number;
  readonly bytes: number;
}

/** What a peer makes of a request; null: it does not answer. */
export type Answer = (sent: Sent, peer: Peer) => Partial<DhtReply> | null;

export interface Peer extends NodeAddress {
  readonly id: Uint8Array;
  /** Shows its id. */
  isPersistent: boolean;
  isDown: boolean;
  /** Where it sees our client socket; otherwise where that is. */
  seesUs: NodeAddress | null;
  answer: Answer;
  /** Requests that came. */
  readonly got: Sent[];
}

export class NodeHarness implements DhtTransport {
  readonly clock = new StillClock();
  readonly table: TableWriter;
  readonly node: DhtNode;
  readonly sent: Sent[] = [];
  readonly proven: string[] = [];
  readonly events: string[] = [];
  readonly peers = new Map<string, Peer>();
  readonly names = new Map<string, string>();
  readonly serverPort = SERVER_PORT;
  /** Whether PING_NAT answers reach the server socket. */
  isServerOpen = true;

  constructor(options: DhtNodeOptions = {}, seed = 1) {
    const isPrivate = options.isPrivate === true;
    this.table = new TableWriter(RoutingTable.allocate(32), { isPrivate });
    const { clock, table } = this;
    this.node = new DhtNode(
      {
        clock,
        rng: new Rng(seed),
        transport: this,
        table,
        proven: { add: (host, port) => this.proven.push(`${host}:${port}`) },
        resolve: async (name) => this.names.get(name) ?? null,
      },
      options,
    );
    for (const event of ['listening', 'ready', 'persistent', 'ephemeral', 'wakeup', 'nat-update']) {
      this.node.on(event, () => this.events.push(event));
    }
    for (const event of ['network-update', 'suspend', 'resume', 'close']) {
      this.node.on(event, () => this.events.push(event));
    }
  }

  /** Puts a peer at an address. */
  peer(host: string, port = SERVER_PORT, parts: Partial<Peer> = {}): Peer {
    const peer: Peer = {
      host,
      port,
      id: nodeId(host, port),
      isPersistent: true,
      isDown: false,
      seesUs: null,
      answer: (sent) => this.usual(sent),
      got: [],
      ...parts,
    };
    this.peers.set(`${host}:${port}`, peer);
    return peer;
  }

  /** `count` peers, each of a network of its own. */
  crowd(count: number, firstByte = 45): Peer[] {
    return Array.from({ length: count }, (_, i) =>
      this.peer(`${firstByte + (i >> 8)}.${i & 255}.7.9`),
    );
  }

  /** As a persistent node answers: FIND_NODE and user commands name the nodes it should. */
  usual({ request }: Sent): Partial<DhtReply> | null {
    const { isInternal, command, target } = request;
    const isQuery = !isInternal || command === INTERNAL.FIND_NODE;
    const closerNodes = isQuery && target !== null ? this.closest(target) : [];
    return { closerNodes, token: isInternal ? null : new Uint8Array(32).fill(7) };
  }

  /** The peers that are closest to a target. */
  closest(target: Uint8Array, count = K): Peer[] {
    const all = [...this.peers.values()].filter((peer) => peer.isPersistent && !peer.isDown);
    return all.sort((a, b) => compareDistance(target, a.id, b.id)).slice(0, count);
  }

  send(from: SocketKind, datagram: Uint8Array, to: NodeAddress): void {
    const request = decodeRequest(datagram);
    if (request === null) throw new Error('the node sent something unreadable');
    const { host, port } = to;
    const at = this.clock.now();
    const sent = { from, to: { host, port }, request, at, bytes: datagram.length };
    this.sent.push(sent);
    const peer = this.peers.get(`${host}:${port}`);
    if (peer === undefined) return;
    peer.got.push(sent);
    const answer = peer.isDown ? null : peer.answer(sent, peer);
    if (answer !== null) this.clock.after(DELAY_MS, () => this.reply(sent, peer, answer));
  }

  /** Brings the node an answer to what it sent. */
  reply(sent: Sent, from: NodeAddress, parts: Partial<DhtReply> = {}): boolean {
    const peer = this.peers.get(`${from.host}:${from.port}`);
    const { request } = sent;
    const isNatPing = request.isInternal && request.command === INTERNAL.PING_NAT;
    const socket = isNatPing && request.value !== null ? 'server' : sent.from;
    if (isNatPing && (!this.isServerOpen || readU16(request.value as Uint8Array, 0) === 0)) {
      return false;
    }
    const port = socket === 'server' ? SERVER_PORT : CLIENT_PORT;
    const reply: DhtReply = {
      tid: request.tid,
      to: peer?.seesUs ?? { host: OWN_HOST, port },
      id: peer?.isPersistent === true ? peer.id : null,
      token: null,
      closerNodes: [],
      error: 0,
      value: null,
      ...parts,
    };
    return this.node.onReply(reply, { host: from.host, port: from.port }, socket);
  }

  /** What was sent since the last call. */
  take(): Sent[] {
    return this.sent.splice(0);
  }

  /** Starts the node and lets it look around. */
  async ready(): Promise<this> {
    this.node.start();
    await this.clock.pass(10_000, 500);
    return this;
  }
}

/** Below 0 when `a` is closer to `target`. */
export function compareDistance(target: Uint8Array, a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < target.length; i++) {
    if (a[i] !== b[i]) return (target[i] ^ a[i]) - (target[i] ^ b[i]);
  }
  return 0;
}

/** 32 bytes from a seed. */
export function targetOf(seed: number): Uint8Array {
  const rng = new Rng(seed);
  return Uint8Array.from({ length: 32 }, () => rng.below(256));
}
