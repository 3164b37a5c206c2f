/**
 * Multicast without a network: instances with the interface of npm multicast-dns. Each hears all
 * that any of them says, itself included, as dns-packet reads what dns-packet has written.
 */
import { EventEmitter } from 'node:events';
import { decode, encode, type Packet } from 'dns-packet';
import type { MulticastDns } from '../../server/discovery/types.ts';

type Done = (error?: Error | null) => void;

export class MulticastBus {
  readonly members = new Set<BusMember>();
  #nextPort = 40_000;

  /** A new instance, at 127.0.0.1 and a port of its own. */
  join(): BusMember {
    const member = new BusMember(this, this.#nextPort++);
    this.members.add(member);
    return member;
  }

  say(kind: 'query' | 'response', message: object, from: BusMember): void {
    const bytes = encode({ ...message, type: kind } as Packet);
    const source = { address: '127.0.0.1', port: from.port, family: 'IPv4', size: bytes.length };
    for (const member of this.members) {
      setImmediate(() => {
        if (this.members.has(member)) member.emit(kind, decode(bytes), source);
      });
    }
  }
}

export class BusMember extends EventEmitter {
  readonly port: number;
  /** What was asked, and answered, here. */
  readonly queries: object[] = [];
  readonly responses: object[] = [];
  readonly #bus: MulticastBus;

  constructor(bus: MulticastBus, port: number) {
    super();
    this.#bus = bus;
    this.port = port;
  }

  /** As the option `multicast` takes it. */
  get instance(): MulticastDns {
    return this as unknown as MulticastDns;
  }

  get isDestroyed(): boolean {
    return !this.#bus.members.has(this);
  }

  query(message: object, done?: Done): void {
    this.queries.push(message);
    this.#bus.say('query', message, this);
    setImmediate(() => done?.(null));
  }

  response(message: object, _to?: object, done?: Done): void {
    this.responses.push(message);
    this.#bus.say('response', message, this);
    setImmediate(() => done?.(null));
  }

  destroy(done?: () => void): void {
    this.#bus.members.delete(this);
    setImmediate(() => done?.());
  }
}
