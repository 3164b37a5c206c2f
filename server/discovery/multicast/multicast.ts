/**
 * Multicast DNS of a discovery instance (RFC 6762, and npm dns-discovery 6.2.3): asks for names,
 * answers from what was announced here, and tells whom it hears of.
 *
 * Who announces asks for the name too, hears its own question, and answers it to the group: that is
 * how others learn of it at once, with the original as here. Records have a TTL of 120 s at most;
 * the original sends 0 and none of it is a goodbye, so a TTL of 0 that comes in means nothing and
 * none is ever sent. Records in questions are what the asker knows, and not believed.
 */
import type { Clock } from '../../clock.ts';
import { type CreateSocket, MULTICAST_PORT } from '../../net/multicast/group-socket.ts';
import { MAX_MULTICAST_RECORDS } from '../../net/multicast/guard.ts';
import {
  interfaceProblem,
  isOwnAddress,
  type ListInterfaces,
} from '../../net/multicast/interfaces.ts';
import type { MulticastCounts, MulticastSocket } from '../../net/multicast/socket.ts';
import { secretBytes, secretUint32 } from '../../rng.ts';
import type { LocalRecords } from '../local-records.ts';
import type { TrafficTap } from '../traffic.ts';
import { DiscoveryError, type MulticastDns, type Peer } from '../types.ts';
import { Ipv4First } from './ipv4-first.ts';
import { makeOwnInstance, type OwnInstance } from './link.ts';
import { MulticastNames } from './names.ts';
import { type Sender, srvPeer, tokenOf, txtPeers } from './peers.ts';
import { type HeardQuery, MulticastResponder } from './responder.ts';

/** Peers told of one message. */
export const MAX_PEERS_PER_MESSAGE = 256;

export interface MulticastConfig {
  /** A user's own; null: make one. */
  readonly instance: MulticastDns | null;
  readonly domain: string;
  /** Tell also of what was announced here. */
  readonly loopback: boolean;
  /** Names or addresses; null: all. */
  readonly interfaces: readonly string[] | null;
  readonly own: LocalRecords;
  /** What others have announced to this instance as a server. */
  readonly others: (id: string) => readonly Peer[];
  readonly ttlSeconds: number;
  readonly clock: Clock;
  readonly traffic: TrafficTap;
  readonly onPeer: (id: string, peer: Peer) => void;
  readonly onError: (error: Error) => void;
}

/** What tests replace. */
export interface MulticastInternals {
  readonly list?: ListInterfaces;
  readonly create?: CreateSocket;
  readonly port?: number;
  readonly random?: () => number;
}

/** A response as dns-packet decodes it, or as a user's instance tells it: nothing is certain. */
interface HeardResponse {
  readonly answers?: readonly HeardRecord[];
  readonly additionals?: readonly HeardRecord[];
}

interface HeardRecord {
  readonly name?: unknown;
  readonly type?: unknown;
  readonly data?: unknown;
}

export class Multicast {
  readonly #config: MulticastConfig;
  readonly #names: MulticastNames;
  readonly #instance: MulticastDns;
  /** Null with a user's instance. */
  readonly #socket: MulticastSocket | null;
  readonly #responder: MulticastResponder;
  readonly #ipv4First: Ipv4First;
  /** In every answer of ours, and in nobody else's: an answer that has it is our own echo. */
  readonly #token = Buffer.from(secretBytes(32)).toString('base64');
  #isDestroyed = false;

  /**
   * Opens the sockets, or attaches to the instance given.
   *
   * @throws RangeError for a domain that multicast DNS cannot carry.
   */
  constructor(config: MulticastConfig, internals: MulticastInternals = {}) {
    this.#config = config;
    this.#names = new MulticastNames(config.domain);
    const own = config.instance === null ? this.#makeInstance(internals) : null;
    this.#instance = own?.instance ?? (config.instance as MulticastDns);
    this.#socket = own?.socket ?? null;
    this.#ipv4First = new Ipv4First(config.clock);
    this.#responder = new MulticastResponder({
      names: this.#names,
      sources: {
        token: this.#token,
        ports: (id) => config.own.ports(id),
        others: config.others,
        random: internals.random ?? secretUint32,
      },
      socket: this.#socket,
      port: internals.port ?? MULTICAST_PORT,
      ttlSeconds: config.ttlSeconds,
      clock: config.clock,
      respond: (message, to) => this.#respond(message, to),
    });
    this.#instance.on('query', (message: HeardQuery, from: Sender) => this.#onQuery(message, from));
    this.#instance.on('response', (message: HeardResponse, from: Sender) =>
      this.#onResponse(message, from),
    );
    this.#instance.on('error', (error) => this.#fail(error));
    for (const chosen of config.interfaces ?? []) {
      const problem = interfaceProblem(chosen);
      if (problem !== null) this.#fail(new RangeError(problem));
    }
    this.#socket?.open();
  }

  /** What came in, went out, and was dropped; null with a user's instance. */
  get counts(): (Readonly<MulticastCounts> & { readonly dropWaiting: number }) | null {
    if (this.#socket === null) return null;
    // Questions that were not answered, because too many waited.
    return { ...this.#socket.counts, dropWaiting: this.#responder.dropped };
  }

  /**
   * Asks for `id`. `done` comes when the question has been sent, or with an error: a RangeError for
   * what is no name, any other when nothing was sent: port 5353 could not be opened, or there is no
   * interface. What was announced here is told all the same once there is one.
   */
  query(id: string, done: (error: Error | null) => void): void {
    const { clock, traffic } = this.#config;
    if (this.#isDestroyed) {
      const error = new DiscoveryError('ERR_DESTROYED', 'the discovery instance was destroyed');
      clock.soon(() => done(error));
      return;
    }
    let name: string;
    try {
      name = this.#names.nameOf(id);
    } catch (error) {
      clock.soon(() => done(error as Error));
      return;
    }
    const message = { questions: [{ type: 'TXT' as const, name }] };
    this.#instance.query(message, (error) => done(error ?? null));
    if (traffic.isWanted()) traffic.tell('out:multicastquery', { message });
  }

  /** Closes the sockets, also of an instance that was given. */
  destroy(done: () => void): void {
    this.#isDestroyed = true;
    this.#responder.clear();
    this.#ipv4First.clear();
    this.#instance.destroy(done);
  }

  #makeInstance(internals: MulticastInternals): OwnInstance {
    const { interfaces, clock, traffic, own } = this.#config;
    return makeOwnInstance({
      ...internals,
      interfaces,
      clock,
      isWanted: (bytes) => this.#names.isIn(bytes) || traffic.isWanted(),
      onJoined: (link) => this.#responder.announceOn(link, idsOf(own)),
    });
  }

  #respond(message: object, to: object): void {
    const instance = this.#instance;
    if (instance.respond !== undefined) instance.respond(message, to);
    else instance.response?.(message, to);
    const { traffic } = this.#config;
    if (traffic.isWanted()) traffic.tell('out:multicastresponse', { message });
  }

  #onQuery(message: HeardQuery, from: Sender): void {
    if (this.#isDestroyed) return;
    this.#tellHeard('in:multicastquery', message, from);
    // A listener may have destroyed us.
    if (!this.#isDestroyed) this.#responder.heard(message, from);
  }

  #onResponse(message: HeardResponse, from: Sender): void {
    if (this.#isDestroyed) return;
    this.#tellHeard('in:multicastresponse', message, from);
    // Of a user's instance: nobody is at port 0.
    if (from.port === 0) return;
    const records = [...(message.answers ?? []), ...(message.additionals ?? [])];
    const told = new Set<string>();
    let left = MAX_PEERS_PER_MESSAGE;
    for (const record of records.slice(0, MAX_MULTICAST_RECORDS)) {
      const id = this.#names.idOf(record.name);
      if (id === null || id === '') continue;
      const token = record.type === 'TXT' ? tokenOf(record.data) : null;
      const tell = (): void => {
        const peers = this.#peersOf(id, record, from, left);
        left -= peers.length;
        this.#tellPeers(id, peers, told);
      };
      this.#ipv4First.heard(token, from.address, tell);
    }
  }

  /** `told`: what was told of this message. */
  #tellPeers(id: string, peers: readonly Peer[], told: Set<string>): void {
    for (const peer of peers) {
      const key = `${id} ${peer.host} ${peer.port}`;
      if (told.has(key)) continue;
      told.add(key);
      // A listener may have destroyed us.
      if (!this.#isDestroyed) this.#config.onPeer(id, peer);
    }
  }

  /** At most `most`. */
  #peersOf(id: string, { type, data }: HeardRecord, from: Sender, most: number): Peer[] {
    const { loopback } = this.#config;
    if (most === 0) return [];
    if (type === 'TXT') {
      if (!loopback && tokenOf(data) === this.#token) return [];
      return txtPeers(data, from, most);
    }
    const peer = type === 'SRV' ? srvPeer(data, from) : null;
    // Such a record has no token; but one of us at one of our ports is ourselves.
    if (peer === null || (!loopback && this.#isOurs(id, peer))) return [];
    return [peer];
  }

  #isOurs(id: string, { host, port }: Peer): boolean {
    if (this.#socket === null || !this.#config.own.ports(id).includes(port)) return false;
    return isOwnAddress(this.#socket.interfaces, host);
  }

  #tellHeard(
    type: 'in:multicastquery' | 'in:multicastresponse',
    message: object,
    { address, port }: Sender,
  ): void {
    const { traffic } = this.#config;
    if (traffic.isWanted()) traffic.tell(type, { message, peer: { port, host: address } });
  }

  /** Later: errors of opening come before anybody can listen. */
  #fail(error: Error): void {
    this.#config.clock.soon(() => {
      if (!this.#isDestroyed) this.#config.onError(error);
    });
  }
}

function* idsOf(own: LocalRecords): Iterable<string> {
  for (const [id] of own.names()) yield id;
}
