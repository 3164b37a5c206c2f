/** A Multicast over a network of fakes, and the messages that come in and go out. */
import { setImmediate } from 'node:timers/promises';
import { encode, type Packet } from 'dns-packet';
import { LocalRecords } from '../../server/discovery/local-records.ts';
import { Multicast, type MulticastConfig } from '../../server/discovery/multicast/multicast.ts';
import type { Peer, TrafficType } from '../../server/discovery/types.ts';
import { FakeNetwork } from './fake-multicast.ts';
import { FakeClock } from './tcp-client.ts';

export const DOMAIN = 'dns-discovery.local';
/** Longer than any answer is held back. */
export const ANSWER_MS = 250;

export interface Out {
  readonly to: string;
  readonly port: number;
  readonly via: string;
  readonly id: number;
  readonly type: string;
  readonly questions: readonly { readonly name: string; readonly type: string }[];
  readonly answers: readonly { name: string; type: string; ttl: number; data: unknown }[];
}

export class MulticastHouse {
  readonly network = new FakeNetwork();
  readonly clock = new FakeClock();
  readonly own = new LocalRecords(100);
  /** Each `id host port`. */
  readonly peers: string[] = [];
  readonly errors: Error[] = [];
  readonly traffic: [TrafficType, unknown][] = [];
  readonly multicast: Multicast;
  others: readonly Peer[] = [];
  wantsTraffic = false;
  #random = 0;

  /** On eth0 with 10.0.0.1/24, fe80::1 and 2001:db8::1, unless `prepare` says otherwise. */
  constructor(
    config: Partial<MulticastConfig> = {},
    prepare: (network: FakeNetwork) => void = (network) =>
      network.up('eth0', '10.0.0.1/24', 'fe80::1/64', '2001:db8::1/64'),
  ) {
    prepare(this.network);
    this.multicast = new Multicast(
      {
        instance: null,
        domain: DOMAIN,
        loopback: false,
        interfaces: null,
        own: this.own,
        others: () => this.others,
        ttlSeconds: Number.POSITIVE_INFINITY,
        clock: this.clock,
        traffic: {
          isWanted: () => this.wantsTraffic,
          tell: (type, details) => this.traffic.push([type, details]),
        },
        onPeer: (id, { host, port }) => this.peers.push(`${id} ${host} ${port}`),
        onError: (error) => this.errors.push(error),
        ...config,
      },
      { list: this.network.list, create: this.network.create, random: () => this.#random++ },
    );
  }

  hear(message: Packet, address = '10.0.0.9', port = 5353): void {
    this.network.receive(encode(message), address, port);
  }

  /** A TXT question for `id` from the network. */
  ask(id: string, address?: string, port?: number, more: object = {}): void {
    const name = id === '' ? DOMAIN : `${id}.${DOMAIN}`;
    this.hear({ type: 'query', questions: [{ type: 'TXT', name }], ...more }, address, port);
  }

  /** A TXT response about `id`. */
  tell(id: string, strings: readonly string[], address?: string, port?: number): void {
    const data = strings.map((text) => Buffer.from(text));
    const answers: Packet['answers'] = [{ type: 'TXT', name: `${id}.${DOMAIN}`, ttl: 0, data }];
    this.hear({ type: 'response', answers }, address, port);
  }

  /** What has left since the last call, once multicast-dns has had its turn. */
  async out(): Promise<Out[]> {
    await setImmediate();
    return this.network.take().map(({ to, port, via, message }) => ({
      to,
      port,
      via,
      id: message.id ?? 0,
      type: message.type ?? '',
      questions: (message.questions ?? []) as Out['questions'],
      answers: (message.answers ?? []) as Out['answers'],
    }));
  }

  /** What is answered in the time that answers are held back. */
  answered(ms = ANSWER_MS): Promise<Out[]> {
    this.clock.advance(ms);
    return this.out();
  }
}

/** The strings of a TXT record's data. */
export function texts(data: unknown): string[] {
  return (data as Buffer[]).map((text) => text.toString('latin1'));
}

/** `host:port` of each peer in a record's `peers=` strings, in order. */
export function peersIn(data: unknown): string[] {
  return texts(data)
    .filter((text) => text.startsWith('peers='))
    .flatMap((text) => {
      const bytes = Buffer.from(text.slice(6), 'base64');
      const count = bytes.length / 6;
      return Array.from({ length: count }, (_, i) => {
        const at = 6 * i;
        return `${bytes.subarray(at, at + 4).join('.')}:${bytes.readUInt16BE(at + 4)}`;
      });
    });
}

/** A `peers=` string of `host:port` texts. */
export function peersString(...peers: string[]): string {
  const bytes = peers.flatMap((peer) => {
    const [host, port] = peer.split(':');
    return [...host.split('.').map(Number), Number(port) >> 8, Number(port) & 255];
  });
  return `peers=${Buffer.from(bytes).toString('base64')}`;
}
