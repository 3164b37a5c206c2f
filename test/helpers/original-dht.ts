/** The originals: npm dht-rpc of two versions and npm hyperdht, with the types of what is used. */
import { createRequire } from 'node:module';
import type { TestContext } from 'node:test';

const require = createRequire(import.meta.url);

export interface OriginalAddress {
  readonly host: string;
  readonly port: number;
}

export interface OriginalReply {
  readonly tid: number;
  readonly rtt: number;
  readonly from: OriginalAddress & { readonly id: Buffer | null };
  readonly to: OriginalAddress;
  readonly token: Buffer | null;
  readonly closerNodes: readonly OriginalAddress[] | null;
  readonly error: number;
  readonly value: Buffer | null;
}

export interface OriginalRequest {
  readonly command: number;
  readonly target: Buffer | null;
  readonly token: Buffer | null;
  readonly value: Buffer | null;
  readonly from: OriginalAddress & { readonly id: Buffer | null };
  reply(value: Buffer | null, options?: { token?: boolean; closerNodes?: boolean }): void;
  error(code: number): void;
}

export interface OriginalQuery<T> extends AsyncIterable<T> {
  finished(): Promise<void>;
  readonly closestReplies: readonly OriginalReply[];
  readonly closestNodes: readonly OriginalAddress[];
}

interface Message {
  readonly token?: Uint8Array | null;
  readonly command: number;
  readonly target?: Uint8Array | null;
  readonly value?: Uint8Array | null;
}

export interface OriginalDht {
  readonly id: Buffer | null;
  readonly ephemeral: boolean;
  readonly firewalled: boolean;
  readonly bootstrapped: boolean;
  readonly table: { readonly size: number };
  ready(): Promise<void>;
  fullyBootstrapped(): Promise<void>;
  address(): OriginalAddress;
  toArray(): OriginalAddress[];
  ping(to: OriginalAddress): Promise<OriginalReply>;
  delayedPing(to: OriginalAddress, delayMs: number): Promise<OriginalReply>;
  findNode(target: Uint8Array): OriginalQuery<OriginalReply>;
  request(
    message: Message,
    to: OriginalAddress,
    options?: { retry?: boolean },
  ): Promise<OriginalReply>;
  query<T = OriginalReply>(
    message: Message & { readonly target: Uint8Array },
    options?: object,
  ): OriginalQuery<T>;
  on(event: 'request', listener: (request: OriginalRequest) => void): this;
  once(event: string, listener: () => void): this;
  destroy(options?: object): Promise<void>;
}

export interface KeyPair {
  readonly publicKey: Buffer;
  readonly secretKey: Buffer;
}

export interface HyperServer {
  listen(keyPair?: KeyPair): Promise<void>;
  close(): Promise<void>;
  readonly publicKey: Buffer;
}

export interface HyperStream {
  write(data: Buffer): void;
  end(): void;
  destroy(): void;
  on(event: 'data', listener: (data: Buffer) => void): this;
  on(event: 'error', listener: (error: Error) => void): this;
  once(event: string, listener: () => void): this;
}

export interface LookupResult {
  readonly from: OriginalAddress;
  readonly peers: readonly { readonly publicKey: Buffer; readonly relayAddresses: unknown[] }[];
  readonly bump: number;
}

export interface OriginalHyperdht extends OriginalDht {
  lookup(target: Uint8Array): OriginalQuery<LookupResult>;
  announce(
    target: Uint8Array,
    keyPair: KeyPair,
    relays?: readonly OriginalAddress[],
    options?: { bump?: number },
  ): OriginalQuery<LookupResult>;
  unannounce(target: Uint8Array, keyPair: KeyPair): Promise<void>;
  findPeer(
    publicKey: Uint8Array,
  ): OriginalQuery<{ readonly peer: { readonly publicKey: Buffer }; from: OriginalAddress }>;
  immutablePut(value: Uint8Array): Promise<{ readonly hash: Buffer }>;
  immutableGet(target: Uint8Array): Promise<{ readonly value: Buffer } | null>;
  mutablePut(keyPair: KeyPair, value: Uint8Array, options?: { seq?: number }): Promise<object>;
  mutableGet(
    publicKey: Uint8Array,
    options?: { seq?: number; latest?: boolean },
  ): Promise<{ readonly value: Buffer; readonly seq: number } | null>;
  createServer(onConnection: (stream: HyperStream) => void): HyperServer;
  connect(publicKey: Uint8Array): HyperStream;
}

interface DhtConstructor<T> {
  new (options: object): T;
  bootstrapper(port: number, host: string, options?: object): T;
}

interface HyperdhtConstructor extends DhtConstructor<OriginalHyperdht> {
  keyPair(seed?: Uint8Array): KeyPair;
  hash(data: Uint8Array): Buffer;
}

export const Hyperdht = require('hyperdht') as HyperdhtConstructor;

/** The versions of npm dht-rpc that speak the wire of today. */
export const DHT_RPC = [
  { version: '6.27.0', Dht: require('dht-rpc') as DhtConstructor<OriginalDht> },
  { version: '5.0.6', Dht: require('dht-rpc-5') as DhtConstructor<OriginalDht> },
] as const;

/** Starts an original on loopback and waits until it is ready; it ends with the test. */
export async function original<T extends OriginalDht>(
  t: Pick<TestContext, 'after'>,
  Dht: DhtConstructor<T>,
  options: object,
): Promise<T> {
  const node = new Dht({ host: '127.0.0.1', port: 0, ...options });
  t.after(() => node.destroy({ force: true }));
  await node.ready();
  return node;
}

/** A node that belongs to the network at once: an original would take 20 minutes to be sure. */
export const PERSISTENT = { ephemeral: false, firewalled: false };
