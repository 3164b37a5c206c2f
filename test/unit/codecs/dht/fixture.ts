/**
 * What tests of the DHT's codecs share: the recorded datagrams, and the original encoders and
 * decoders of npm dht-rpc 6.27.0 and hyperdht 6.34.0 with their sockets taken away.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { NodeAddress } from '../../../../codecs/dht/address.ts';
import type { DhtReply, DhtRequest } from '../../../../codecs/dht/message.ts';
import { nodeId } from '../../../../codecs/dht/node-id.ts';
import { readU16, varintSize } from '../../../../codecs/dht/varint.ts';

const require = createRequire(import.meta.url);

/** What the recorder made of a datagram; bytes as hex. */
export interface Decoded {
  readonly kind?: 'request' | 'response';
  readonly flags: number;
  readonly tid: number;
  readonly to: NodeAddress;
  readonly id?: string;
  readonly token?: string;
  readonly internal: boolean;
  readonly command: number;
  readonly target?: string;
  readonly value?: string;
  readonly closerNodes?: readonly NodeAddress[];
  readonly error: number;
  readonly valueDecoded?: object;
}

export interface DhtVector {
  readonly name: string;
  readonly direction: string;
  readonly src: string;
  readonly dst: string;
  readonly hex: string;
  readonly decoded: Decoded;
}

export const VECTOR_FILES = ['dht-rpc-5.0.6', 'dht-rpc-6.27.0', 'hyperdht-6.34.0'] as const;

export function loadDhtVectors(file: (typeof VECTOR_FILES)[number]): readonly DhtVector[] {
  const url = new URL(`../../../vectors/${file}.json`, import.meta.url);
  const content = JSON.parse(readFileSync(url, 'utf8'));
  return Array.isArray(content) ? content : content.datagrams;
}

export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/**
 * `decoded` with its bytes as hex, so that Buffers and arrays compare, and without ids that are
 * null, of which the original has more.
 */
export function plain(decoded: unknown): unknown {
  const text = JSON.stringify(decoded, (key, part) => {
    if (key === 'id' && part === null) return undefined;
    if (part?.type === 'Buffer') return Buffer.from(part.data).toString('hex');
    return part instanceof Uint8Array ? hexOf(part) : part;
  });
  return JSON.parse(text);
}

/** The same bytes as a Buffer: the originals compare with Buffer.equals. */
function buffer(bytes: Uint8Array | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes);
}

interface Encoder {
  preencode(state: object, value: unknown): void;
}

export const originalMessages = require('hyperdht/lib/messages.js') as Record<string, Encoder>;
export const originalNamespaces = require('hyperdht/lib/constants.js').NS as Record<string, Buffer>;
const compact = require('compact-encoding') as {
  encode(encoder: Encoder, value: unknown): Uint8Array;
  decode(encoder: Encoder, bytes: Uint8Array): unknown;
};

export function originalEncode(kind: string, value: unknown): Uint8Array {
  return compact.encode(originalMessages[kind], value);
}

/** null: the original throws. */
export function originalDecode(kind: string, bytes: Uint8Array): unknown {
  try {
    return compact.decode(originalMessages[kind], bytes);
  } catch {
    return null;
  }
}

interface OriginalRequest {
  tid: number;
  token: Uint8Array | null;
  internal: boolean;
  command: number;
  target: Uint8Array | null;
  value: Uint8Array | null;
  _encodeRequest(token: unknown, value: unknown, to: NodeAddress, socket: object): Uint8Array;
  _sendReply(
    error: number,
    value: unknown,
    hasToken: boolean,
    hasCloserNodes: boolean,
    to: NodeAddress,
    socket: object,
  ): void;
}

interface OriginalReply {
  tid: number;
  to: NodeAddress;
  from: { id: Uint8Array | null };
  token: Uint8Array | null;
  closerNodes: NodeAddress[] | null;
  error: number;
  value: Uint8Array | null;
}

interface OriginalIo {
  ephemeral: boolean;
  serverSocket: object;
  inflight: object[];
  token(): Uint8Array;
  onmessage(socket: object, bytes: Uint8Array, from: NodeAddress): void;
  createRequest(
    to: NodeAddress,
    token: null,
    internal: boolean,
    command: number,
    target: unknown,
    value: unknown,
  ): OriginalRequest;
}

interface Table {
  id: Uint8Array;
  closest(): readonly NodeAddress[];
}

type IoConstructor = new (table: Table, udx: object, options: object) => OriginalIo;

/** dht-rpc's reader and writer of datagrams. */
export class OriginalCodec {
  readonly #io: OriginalIo;
  readonly #table: Table = { id: Buffer.alloc(32), closest: () => this.#closerNodes };
  readonly #socket = { trySend: (bytes: Uint8Array) => this.#take(bytes) };
  #closerNodes: readonly NodeAddress[] = [];
  #token: Uint8Array = Buffer.alloc(32);
  #sent: Uint8Array | null = null;
  #request: OriginalRequest | null = null;
  #reply: OriginalReply | null = null;

  constructor() {
    const Io = require('dht-rpc/lib/io.js') as IoConstructor;
    this.#io = new Io(
      this.#table,
      { watchNetworkInterfaces: () => ({}) },
      {
        onrequest: (request: OriginalRequest) => {
          this.#request = request;
        },
      },
    );
    this.#io.token = () => this.#token;
    this.#io.serverSocket = this.#socket;
  }

  #take(bytes: Uint8Array): void {
    this.#sent = bytes;
  }

  encodeRequest(request: DhtRequest): Uint8Array {
    this.#io.ephemeral = request.id === null;
    this.#table.id = buffer(request.id) ?? this.#table.id;
    const { isInternal, command, target, value, to, token } = request;
    const made = this.#io.createRequest(to, null, isInternal, command, target, null);
    this.#io.inflight.length = 0;
    made.tid = request.tid;
    return made._encodeRequest(buffer(token), buffer(value), to, this.#socket);
  }

  encodeReply(reply: DhtReply): Uint8Array {
    this.#io.ephemeral = reply.id === null;
    this.#table.id = buffer(reply.id) ?? this.#table.id;
    this.#closerNodes = reply.closerNodes;
    this.#token = buffer(reply.token) ?? this.#token;
    const made = this.#io.createRequest(reply.to, null, false, 0, Buffer.alloc(32), null);
    this.#io.inflight.length = 0;
    made.tid = reply.tid;
    const { error, token, to } = reply;
    made._sendReply(error, buffer(reply.value), token !== null, true, to, this.#socket);
    if (this.#sent === null) throw new Error('the original sent nothing');
    return this.#sent;
  }

  /**
   * What the original reads of a request; null when it ignores it. `token` is what it is to find a
   * valid token. Its `from.id` is left out: that depends on the sender's address.
   */
  decodeRequest(bytes: Uint8Array, token: Uint8Array | null): OriginalRequest | null {
    this.#request = null;
    this.#token = buffer(token) ?? this.#token;
    const from = { host: '192.0.2.9', port: 999 };
    this.#io.onmessage(this.#socket, Buffer.from(bytes), from);
    return this.#request;
  }

  /** What the original reads of a reply; null when it ignores it. */
  decodeReply(bytes: Uint8Array, from: NodeAddress): OriginalReply | null {
    this.#reply = null;
    if (bytes.length < 2) return null;
    this.#io.inflight = [
      {
        tid: readU16(bytes, 1 + varintSize(bytes[1])),
        onresponse: (reply: OriginalReply) => {
          this.#reply = reply;
        },
      },
    ];
    this.#io.onmessage(this.#socket, Buffer.from(bytes), from);
    this.#io.inflight.length = 0;
    return this.#reply;
  }
}

/** A table of nodes with their ids, for closer nodes: 10.0.0.1:1001, 10.0.0.2:1002 ... */
export function someNodes(count: number): NodeAddress[] {
  return Array.from({ length: count }, (_, i) => ({ host: `10.0.0.${i + 1}`, port: 1001 + i }));
}

export const SOME_ID = nodeId('10.0.0.1', 1001);
