/**
 * Requests and replies as objects, for what is not hot: our own requests and the replies to them.
 * Layouts: request.ts and reply.ts.
 */
import { type NodeAddress, readAddress, writeNodeAddress } from './address.ts';
import {
  ADDRESS_BYTES,
  FLAG_CLOSER_NODES,
  FLAG_ERROR,
  FLAG_ID,
  FLAG_INTERNAL,
  FLAG_TARGET,
  FLAG_TOKEN,
  FLAG_VALUE,
  HEAD_BYTES,
  ID_BYTES,
  REPLY_BYTE,
  TOKEN_BYTES,
} from './constants.ts';
import { writeReplyHead, writeRequestHead } from './reply.ts';
import { RequestReader } from './request.ts';
import { readU16, readVarint, varintBytes, varintSize, writeVarint } from './varint.ts';

export interface DhtRequest {
  tid: number;
  /** The receiver's address, as the sender sees it. */
  to: NodeAddress;
  /** As it was sent: whether it belongs to the sender is for the receiver to check. */
  id: Uint8Array | null;
  token: Uint8Array | null;
  isInternal: boolean;
  command: number;
  target: Uint8Array | null;
  value: Uint8Array | null;
}

export interface DhtReply {
  tid: number;
  to: NodeAddress;
  id: Uint8Array | null;
  token: Uint8Array | null;
  closerNodes: readonly NodeAddress[];
  /** 0: none. */
  error: number;
  value: Uint8Array | null;
}

/** The bytes of `request`. Throws a RangeError on an id, token or target that is not 32 bytes. */
export function encodeRequest(request: DhtRequest): Uint8Array {
  const { id, token, target, value, command } = request;
  const flags =
    (id === null ? 0 : FLAG_ID) |
    (token === null ? 0 : FLAG_TOKEN) |
    (request.isInternal ? FLAG_INTERNAL : 0) |
    (target === null ? 0 : FLAG_TARGET) |
    (value === null ? 0 : FLAG_VALUE);
  const bytes = new Uint8Array(
    HEAD_BYTES + fixedBytes(id, token, target) + varintBytes(command) + valueBytes(value),
  );
  let at = writeRequestHead(bytes, 0, flags, request.tid);
  at = writeNodeAddress(bytes, at, request.to);
  at = writeFixed(bytes, at, id);
  at = writeFixed(bytes, at, token);
  at = writeVarint(bytes, at, command);
  at = writeFixed(bytes, at, target);
  writeValue(bytes, at, value);
  return bytes;
}

const reader = new RequestReader();

/** The request in the `length` bytes at `start`, copied from them; null when it is unreadable. */
export function decodeRequest(
  bytes: Uint8Array,
  start = 0,
  length = bytes.length - start,
): DhtRequest | null {
  if (!reader.read(bytes, start, length)) return null;
  const { valueStart, valueLength, commandStart } = reader;
  return {
    tid: reader.tid,
    to: readAddress(bytes, reader.toStart),
    id: copyAt(bytes, reader.idStart, ID_BYTES),
    token: copyAt(bytes, reader.tokenStart, TOKEN_BYTES),
    isInternal: reader.isInternal,
    command: readVarint(bytes, commandStart, start + length),
    target: copyAt(bytes, reader.targetStart, ID_BYTES),
    value: copyAt(bytes, valueStart, valueLength),
  };
}

/** The bytes of `reply`. Throws a RangeError on an id or token that is not 32 bytes. */
export function encodeReply(reply: DhtReply): Uint8Array {
  const { id, token, closerNodes, error, value } = reply;
  const hasNodes = closerNodes.length > 0;
  const flags =
    (id === null ? 0 : FLAG_ID) |
    (token === null ? 0 : FLAG_TOKEN) |
    (hasNodes ? FLAG_CLOSER_NODES : 0) |
    (error === 0 ? 0 : FLAG_ERROR) |
    (value === null ? 0 : FLAG_VALUE);
  const nodeBytes = varintBytes(closerNodes.length) + ADDRESS_BYTES * closerNodes.length;
  const bytes = new Uint8Array(
    HEAD_BYTES +
      fixedBytes(id, token, null) +
      (hasNodes ? nodeBytes : 0) +
      (error === 0 ? 0 : varintBytes(error)) +
      valueBytes(value),
  );
  let at = writeReplyHead(bytes, 0, flags, reply.tid);
  at = writeNodeAddress(bytes, at, reply.to);
  at = writeFixed(bytes, at, id);
  at = writeFixed(bytes, at, token);
  if (hasNodes) {
    at = writeVarint(bytes, at, closerNodes.length);
    for (const node of closerNodes) at = writeNodeAddress(bytes, at, node);
  }
  if (error !== 0) at = writeVarint(bytes, at, error);
  writeValue(bytes, at, value);
  return bytes;
}

/** The reply in the `length` bytes at `start`, copied from them; null when it is unreadable. */
export function decodeReply(
  bytes: Uint8Array,
  start = 0,
  length = bytes.length - start,
): DhtReply | null {
  const end = start + length;
  if (length < 2 || bytes[start] !== REPLY_BYTE) return null;
  const flags = readVarint(bytes, start + 1, end);
  if (flags < 0) return null;
  const tidAt = start + 1 + varintSize(bytes[start + 1]);
  let at = tidAt + 2 + ADDRESS_BYTES;
  const idAt = (flags & FLAG_ID) === 0 ? -1 : at;
  if (idAt >= 0) at += ID_BYTES;
  const tokenAt = (flags & FLAG_TOKEN) === 0 ? -1 : at;
  if (tokenAt >= 0) at += TOKEN_BYTES;
  if (at > end) return null;
  const closerNodes: NodeAddress[] = [];
  if ((flags & FLAG_CLOSER_NODES) !== 0) {
    at = readNodes(bytes, at, end, closerNodes);
    if (at < 0) return null;
  }
  let error = 0;
  if ((flags & FLAG_ERROR) !== 0) {
    error = readVarint(bytes, at, end);
    if (error < 0) return null;
    at += varintSize(bytes[at]);
  }
  let value: Uint8Array | null = null;
  if ((flags & FLAG_VALUE) !== 0) {
    value = readValue(bytes, at, end);
    if (value === null) return null;
  }
  return {
    tid: readU16(bytes, tidAt),
    to: readAddress(bytes, tidAt + 2),
    id: copyAt(bytes, idAt, ID_BYTES),
    token: copyAt(bytes, tokenAt, TOKEN_BYTES),
    closerNodes,
    error,
    value,
  };
}

/** A copy on the heap, whatever memory `bytes` is of; null when `at` is -1. */
function copyAt(bytes: Uint8Array, at: number, length: number): Uint8Array | null {
  if (at < 0) return null;
  const copy = new Uint8Array(length);
  copy.set(bytes.subarray(at, at + length));
  return copy;
}

/** Adds the nodes at `at` to `nodes`; returns the offset behind them, -1 when unreadable. */
function readNodes(bytes: Uint8Array, at: number, end: number, nodes: NodeAddress[]): number {
  const count = readVarint(bytes, at, end);
  if (count < 0) return -1;
  const first = at + varintSize(bytes[at]);
  if (count * ADDRESS_BYTES > end - first) return -1;
  for (let i = 0; i < count; i++) nodes.push(readAddress(bytes, first + i * ADDRESS_BYTES));
  return first + count * ADDRESS_BYTES;
}

function readValue(bytes: Uint8Array, at: number, end: number): Uint8Array | null {
  const length = readVarint(bytes, at, end);
  if (length < 0) return null;
  const start = at + varintSize(bytes[at]);
  return length > end - start ? null : copyAt(bytes, start, length);
}

function fixedBytes(
  id: Uint8Array | null,
  token: Uint8Array | null,
  target: Uint8Array | null,
): number {
  return (
    (id === null ? 0 : ID_BYTES) +
    (token === null ? 0 : TOKEN_BYTES) +
    (target === null ? 0 : ID_BYTES)
  );
}

function writeFixed(bytes: Uint8Array, at: number, value: Uint8Array | null): number {
  if (value === null) return at;
  if (value.length !== ID_BYTES) {
    throw new RangeError(`id, token or target of ${value.length} bytes: expected ${ID_BYTES}`);
  }
  bytes.set(value, at);
  return at + ID_BYTES;
}

function valueBytes(value: Uint8Array | null): number {
  return value === null ? 0 : varintBytes(value.length) + value.length;
}

function writeValue(bytes: Uint8Array, at: number, value: Uint8Array | null): void {
  if (value === null) return;
  bytes.set(value, writeVarint(bytes, at, value.length));
}
