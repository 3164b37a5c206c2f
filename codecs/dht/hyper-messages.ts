/**
 * hyperdht's payloads as objects, with compact-encoding, for what is not hot. Every encode throws
 * when a number or a length is out of range; every decode copies, and returns null for what is
 * unreadable. Layouts: hyper.ts, relay.ts, and
 *
 *   lookup reply    peers: uint count + peer each   [bump:uint]
 *   mutable value   seq:uint value: uint length + bytes  signature:64
 *   plugin request  plugin: uint length + utf8  version:uint command:uint flags:uint
 *                   [value: uint length + bytes]
 *                    VALUE
 */
import c, { type Encoder, type State } from 'compact-encoding';
import type { NodeAddress } from './address.ts';
import { ADDRESS_BYTES, PUBLIC_KEY_BYTES } from './constants.ts';
import { ANNOUNCE_BUMP, ANNOUNCE_PEER, ANNOUNCE_REFRESH, ANNOUNCE_SIGNATURE } from './hyper.ts';
import { field, listOf, optional, pack, unpack } from './packing.ts';
import { RELAY_PEER_ADDRESS, RELAY_RELAY_ADDRESS } from './relay.ts';

export interface Peer {
  /** 32 bytes. */
  publicKey: Uint8Array;
  relayAddresses: readonly NodeAddress[];
}

export interface Announce {
  peer: Peer | null;
  /** 32 bytes. */
  refresh: Uint8Array | null;
  /** 64 bytes. */
  signature: Uint8Array | null;
  /** Milliseconds since 1970; 0: none. */
  bump: number;
}

export interface LookupReply {
  peers: readonly Peer[];
  bump: number;
}

export interface MutableValue {
  seq: number;
  value: Uint8Array;
  /** 64 bytes. */
  signature: Uint8Array;
}

export interface MutablePut extends MutableValue {
  /** 32 bytes. */
  publicKey: Uint8Array;
}

export interface Handshake {
  /** One of RELAY_MODE. */
  mode: number;
  noise: Uint8Array;
  peerAddress: NodeAddress | null;
  relayAddress: NodeAddress | null;
}

export interface Holepunch {
  /** One of RELAY_MODE. */
  mode: number;
  id: number;
  payload: Uint8Array;
  peerAddress: NodeAddress | null;
}

export interface PluginRequest {
  plugin: string;
  version: number;
  command: number;
  value: Uint8Array | null;
}

const PLUGIN_VALUE = 1;
/** A public key and the count of its relays. */
const LEAST_PEER_BYTES = PUBLIC_KEY_BYTES + 1;

const address: Encoder<NodeAddress> = {
  preencode: c.ipv4Address.preencode,
  encode: c.ipv4Address.encode,
  decode(state) {
    const { host, port } = c.ipv4Address.decode(state);
    return { host, port };
  },
};

const addresses = listOf(address, ADDRESS_BYTES);

const peer: Encoder<Peer> = {
  preencode(state, value) {
    c.fixed32.preencode(state, value.publicKey);
    addresses.preencode(state, value.relayAddresses);
  },
  encode(state, value) {
    c.fixed32.encode(state, value.publicKey);
    addresses.encode(state, value.relayAddresses);
  },
  decode(state) {
    return { publicKey: c.fixed32.decode(state), relayAddresses: addresses.decode(state) };
  },
};

const peers = listOf(peer, LEAST_PEER_BYTES);

export function encodePeer(value: Peer): Uint8Array {
  return pack(field(peer, value));
}

export function decodePeer(bytes: Uint8Array): Peer | null {
  return unpack(bytes, (state) => peer.decode(state));
}

export function encodeAnnounce(value: Announce): Uint8Array {
  const flags =
    (value.peer === null ? 0 : ANNOUNCE_PEER) |
    (value.refresh === null ? 0 : ANNOUNCE_REFRESH) |
    (value.signature === null ? 0 : ANNOUNCE_SIGNATURE) |
    (value.bump === 0 ? 0 : ANNOUNCE_BUMP);
  return pack(
    field(c.uint, flags),
    optional(peer, value.peer),
    optional(c.fixed32, value.refresh),
    optional(c.fixed64, value.signature),
    optional(c.uint, value.bump === 0 ? null : value.bump),
  );
}

export function decodeAnnounce(bytes: Uint8Array): Announce | null {
  return unpack(bytes, (state) => {
    const flags = c.uint.decode(state);
    return {
      peer: (flags & ANNOUNCE_PEER) === 0 ? null : peer.decode(state),
      refresh: (flags & ANNOUNCE_REFRESH) === 0 ? null : c.fixed32.decode(state),
      signature: (flags & ANNOUNCE_SIGNATURE) === 0 ? null : c.fixed64.decode(state),
      bump: (flags & ANNOUNCE_BUMP) === 0 ? 0 : c.uint.decode(state),
    };
  });
}

export function encodeLookupReply(value: LookupReply): Uint8Array {
  return pack(field(peers, value.peers), field(c.uint, value.bump));
}

export function decodeLookupReply(bytes: Uint8Array): LookupReply | null {
  return unpack(bytes, (state) => {
    const decoded = peers.decode(state);
    // Older nodes send no bump.
    return { peers: decoded, bump: state.start < state.end ? c.uint.decode(state) : 0 };
  });
}

export function encodeMutableValue(value: MutableValue): Uint8Array {
  return pack(
    field(c.uint, value.seq),
    field(c.buffer, value.value),
    field(c.fixed64, value.signature),
  );
}

export function decodeMutableValue(bytes: Uint8Array): MutableValue | null {
  return unpack(bytes, readMutableValue);
}

export function encodeMutablePut(value: MutablePut): Uint8Array {
  return pack(
    field(c.fixed32, value.publicKey),
    field(c.uint, value.seq),
    field(c.buffer, value.value),
    field(c.fixed64, value.signature),
  );
}

export function decodeMutablePut(bytes: Uint8Array): MutablePut | null {
  return unpack(bytes, (state) => ({
    publicKey: c.fixed32.decode(state),
    ...readMutableValue(state),
  }));
}

export function encodeHandshake(value: Handshake): Uint8Array {
  const flags =
    (value.peerAddress === null ? 0 : RELAY_PEER_ADDRESS) |
    (value.relayAddress === null ? 0 : RELAY_RELAY_ADDRESS);
  return pack(
    field(c.uint, flags),
    field(c.uint, value.mode),
    field(c.buffer, value.noise),
    optional(address, value.peerAddress),
    optional(address, value.relayAddress),
  );
}

export function decodeHandshake(bytes: Uint8Array): Handshake | null {
  return unpack(bytes, (state) => {
    const flags = c.uint.decode(state);
    return {
      mode: c.uint.decode(state),
      noise: c.buffer.decode(state),
      peerAddress: (flags & RELAY_PEER_ADDRESS) === 0 ? null : address.decode(state),
      relayAddress: (flags & RELAY_RELAY_ADDRESS) === 0 ? null : address.decode(state),
    };
  });
}

export function encodeHolepunch(value: Holepunch): Uint8Array {
  return pack(
    field(c.uint, value.peerAddress === null ? 0 : RELAY_PEER_ADDRESS),
    field(c.uint, value.mode),
    field(c.uint, value.id),
    field(c.buffer, value.payload),
    optional(address, value.peerAddress),
  );
}

export function decodeHolepunch(bytes: Uint8Array): Holepunch | null {
  return unpack(bytes, (state) => {
    const flags = c.uint.decode(state);
    return {
      mode: c.uint.decode(state),
      id: c.uint.decode(state),
      payload: c.buffer.decode(state),
      peerAddress: (flags & RELAY_PEER_ADDRESS) === 0 ? null : address.decode(state),
    };
  });
}

export function encodePluginRequest(value: PluginRequest): Uint8Array {
  return pack(
    field(c.string, value.plugin),
    field(c.uint, value.version),
    field(c.uint, value.command),
    field(c.uint, value.value === null ? 0 : PLUGIN_VALUE),
    optional(c.buffer, value.value),
  );
}

export function decodePluginRequest(bytes: Uint8Array): PluginRequest | null {
  return unpack(bytes, (state) => {
    const plugin = c.string.decode(state);
    const version = c.uint.decode(state);
    const command = c.uint.decode(state);
    const flags = c.uint.decode(state);
    const value = (flags & PLUGIN_VALUE) === 0 ? null : c.buffer.decode(state);
    return { plugin, version, command, value };
  });
}

function readMutableValue(state: State): MutableValue {
  return {
    seq: c.uint.decode(state),
    value: c.buffer.decode(state),
    signature: c.fixed64.decode(state),
  };
}
