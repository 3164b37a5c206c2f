/**
 * A program written for npm dns-discovery 6.2.3 is typed correctly with ours: every option, method
 * and event of its README, and of its code. The compiler checks this file; nothing of it runs but
 * what says that the methods are there.
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:dgram';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import type { MulticastDNS } from 'multicast-dns';
import named, {
  type AnnounceOptions,
  Discovery,
  DiscoveryError,
  type DiscoveryEvents,
  type DiscoveryOptions,
  discovery,
  type LookupOptions,
  type MulticastDns,
  type NameJson,
  type Peer,
  type TrafficDetails,
  type TrafficType,
  type Whoami,
} from '../../../server/discovery/discovery.ts';

/** What the original takes; `multicast` is an instance of multicast-dns. */
interface OriginalOptions {
  server?: string | string[];
  servers?: string | string[];
  ttl?: number;
  limit?: number;
  multicast?: boolean | MulticastDns;
  domain?: string;
  socket?: Socket;
  loopback?: boolean;
  push?: { ttl?: number; limit?: number };
  records?: number;
  values?: number;
  retries?: number;
  timeout?: number;
}

interface OriginalCallOptions {
  server?: boolean;
  multicast?: boolean;
  publicPort?: number;
  impliedPort?: boolean;
}

type Callback = (err: Error | null) => void;
type OriginalPeer = { port: number; host: string };

/** Its methods, each form in which they are called. */
interface OriginalMethods {
  lookup(name: string | Buffer): unknown;
  lookup(name: string | Buffer, cb: Callback): unknown;
  lookup(name: string | Buffer, opts: { server?: boolean; multicast?: boolean } | null): unknown;
  lookup(name: string | Buffer, opts: { server?: boolean } | null, cb: Callback): unknown;
  announce(name: string | Buffer, port: number): unknown;
  announce(name: string | Buffer, port: number, cb: Callback): unknown;
  announce(name: string | Buffer, port: number, opts: OriginalCallOptions): unknown;
  announce(name: string | Buffer, port: number, opts: OriginalCallOptions, cb: Callback): unknown;
  unannounce(name: string | Buffer, port: number): unknown;
  unannounce(name: string | Buffer, port: number, cb: Callback): unknown;
  unannounce(name: string | Buffer, port: number, opts: OriginalCallOptions): unknown;
  unannounce(name: string | Buffer, port: number, opts: OriginalCallOptions, cb: Callback): unknown;
  listen(): unknown;
  listen(port: number): unknown;
  listen(ports: number[]): unknown;
  listen(port: number | number[] | null, cb: () => void): unknown;
  whoami(cb: (err: Error | null, data?: OriginalPeer) => void): unknown;
  toJSON(): readonly { name: string; records: readonly OriginalPeer[] }[];
  destroy(): unknown;
  destroy(onclose: () => void): unknown;
}

/** Its events and the arguments of their listeners. */
interface OriginalEvents {
  listening: [];
  close: [];
  peer: [name: string, peer: OriginalPeer];
  announced: [name: string, details: { port: number }];
  unannounced: [name: string, details: { port: number }];
  traffic: [type: string, details: { message: unknown; peer?: OriginalPeer }];
  'secrets-rotated': [];
  error: [err: Error];
}

/** Whether each event of the original is one of ours, whose arguments its listeners take. */
type EventsMissing = {
  [Name in keyof OriginalEvents]: Name extends keyof DiscoveryEvents
    ? DiscoveryEvents[Name] extends Readonly<OriginalEvents[Name]>
      ? never
      : Name
    : Name;
}[keyof OriginalEvents];

type OptionsMissing = Exclude<keyof OriginalOptions, keyof DiscoveryOptions>;
type CallOptionsMissing = Exclude<keyof OriginalCallOptions, keyof AnnounceOptions>;
type IsNever<T> = [T] extends [never] ? true : false;

/** Assignments that compile when the original's API is a subset of ours. */
const SUBSET = {
  options: (options: OriginalOptions): DiscoveryOptions => options,
  callOptions: (options: OriginalCallOptions): AnnounceOptions => options,
  methods: (disc: Discovery): OriginalMethods => disc,
  emitter: (disc: Discovery): EventEmitter => disc as unknown as EventEmitter,
  noOptionMissing: true satisfies IsNever<OptionsMissing>,
  noCallOptionMissing: true satisfies IsNever<CallOptionsMissing>,
  noEventMissing: true satisfies IsNever<EventsMissing>,
};

/** The README's examples, and listeners whose arguments are inferred. */
/** What npm multicast-dns makes is taken as it is. */
export function own(multicast: MulticastDNS): DiscoveryOptions {
  return { multicast };
}

function readme(socket: Socket, multicast: MulticastDns): void {
  const disc1 = discovery();
  const disc2 = new discovery({ socket, multicast });
  discovery({ server: 'discovery.example.com:9090', ttl: 30, limit: 100, loopback: false });
  discovery({ server: ['discovery.example.com:9090', 'another.discovery.example.com'] });
  disc1.on('peer', (name, peer) => {
    name satisfies string;
    peer satisfies { host: string; port: number };
  });
  disc1.once('announced', (name, { port }) => [name satisfies string, port satisfies number]);
  disc1.on('unannounced', (name, { port }) => [name satisfies string, port satisfies number]);
  disc1.on('listening', () => undefined).on('close', () => undefined);
  disc1.on('secrets-rotated', () => undefined);
  disc1.on('error', (error) => error satisfies Error);
  disc1.on('traffic', (kind, { message, peer }) => {
    kind satisfies TrafficType;
    message satisfies unknown;
    peer satisfies { host: string; port: number } | undefined;
  });
  disc2.announce('test-app', 9090);
  disc1.lookup('example');
  disc1.removeListener('peer', () => undefined);
  disc1.removeAllListeners('peer');
}

/** What ours adds. */
async function modern(disc: Discovery, signal: AbortSignal): Promise<void> {
  (await disc.lookup('app')) satisfies Peer[];
  (await disc.announce('app', 1, { keep: true, signal })) satisfies Peer[];
  await disc.unannounce('app', 1);
  (await disc.whoami()) satisfies Whoami;
  const [opened] = await disc.listen(0);
  opened.port satisfies number;
  for await (const peer of disc.lookup('app', { keep: true })) peer satisfies Peer;
  disc.toJSON() satisfies NameJson[];
  await disc.destroy();
  disc satisfies AsyncDisposable;
  disc.lookup('app', { signal } satisfies LookupOptions).catch((error: unknown) => {
    if (error instanceof DiscoveryError) error.errors satisfies readonly Error[];
  });
  ({ message: null }) satisfies TrafficDetails;
}

/** What must not compile. */
function refused(disc: Discovery): void {
  // @ts-expect-error a name is text or bytes
  disc.lookup(5);
  // @ts-expect-error a port is a number
  disc.announce('app', '8080');
  // @ts-expect-error no such option
  discovery({ sever: 'x' });
  // @ts-expect-error no such option of a call
  disc.lookup('app', { publicPort: 1 });
  // @ts-expect-error no such event
  disc.on('peers', () => undefined);
  disc.on('peer', (name) => {
    // @ts-expect-error a name is text
    name satisfies number;
  });
}

test('every option, method and event of the original is typed', () => {
  assert.ok(SUBSET.noOptionMissing && SUBSET.noCallOptionMissing && SUBSET.noEventMissing);
  for (const check of [readme, modern, refused, SUBSET.methods]) {
    assert.equal(typeof check, 'function');
  }
});

test('the methods are there, on an EventEmitter', () => {
  const methods = ['lookup', 'announce', 'unannounce', 'listen', 'whoami', 'toJSON', 'destroy'];
  for (const method of methods)
    assert.equal(typeof Reflect.get(Discovery.prototype, method), 'function');
  assert.ok(Discovery.prototype instanceof EventEmitter);
});

test('the module: by default, by name, and what belongs to it', () => {
  assert.equal(named, discovery);
  assert.equal(discovery.Discovery, Discovery);
  assert.equal(discovery.DiscoveryError, DiscoveryError);
});
