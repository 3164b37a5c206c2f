/**
 * Numbers of the DHT's wire as npm dht-rpc 6 and hyperdht 6 speak it. All integers are
 * little-endian; a uint is a varint: up to 0xfc one byte, then 0xfd u16, 0xfe u32, 0xff u64.
 */

/** First byte of a datagram: version 3 in the low half, 0 for a request, 1 for a reply. */
export const REQUEST_BYTE = 0x03;
export const REPLY_BYTE = 0x13;

/** Flags of both. */
export const FLAG_ID = 1;
export const FLAG_TOKEN = 2;
export const FLAG_VALUE = 16;
/** Of a request: the command is one of INTERNAL; there is a target. */
export const FLAG_INTERNAL = 4;
export const FLAG_TARGET = 8;
/** Of a reply: there are closer nodes; there is an error. */
export const FLAG_CLOSER_NODES = 4;
export const FLAG_ERROR = 8;

/** First byte, flags, transaction id and the receiver's address: all the shortest reply has. */
export const HEAD_BYTES = 10;
/** An IPv4 address and a port. */
export const ADDRESS_BYTES = 6;
export const ID_BYTES = 32;
export const TOKEN_BYTES = 32;
export const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;
/** Nodes per bucket and in an answer, records in a lookup's answer. */
export const K = 20;

/** Commands of dht-rpc itself. */
export const INTERNAL = {
  PING: 0,
  PING_NAT: 1,
  FIND_NODE: 2,
  DOWN_HINT: 3,
  DELAYED_PING: 4,
} as const;

/** Commands of hyperdht. */
export const COMMAND = {
  PEER_HANDSHAKE: 0,
  PEER_HOLEPUNCH: 1,
  FIND_PEER: 2,
  LOOKUP: 3,
  ANNOUNCE: 4,
  UNANNOUNCE: 5,
  MUTABLE_PUT: 6,
  MUTABLE_GET: 7,
  IMMUTABLE_PUT: 8,
  IMMUTABLE_GET: 9,
  PLUGIN: 10,
} as const;

/** Error numbers in replies. */
export const DHT_ERROR = {
  NONE: 0,
  UNKNOWN_COMMAND: 1,
  INVALID_TOKEN: 2,
  SEQ_REUSED: 16,
  SEQ_TOO_LOW: 17,
} as const;

/** How a handshake or hole-punch message came here. */
export const RELAY_MODE = {
  FROM_CLIENT: 0,
  FROM_SERVER: 1,
  FROM_RELAY: 2,
  FROM_SECOND_RELAY: 3,
  REPLY: 4,
} as const;

/** The port of a hyperdht node. */
export const DHT_PORT = 49_737;
/** Relay addresses kept of a peer. */
export const MAX_RELAY_ADDRESSES = 3;
/** The longest delay of a DELAYED_PING. */
export const MAX_PING_DELAY_MS = 10_000;
/** How far ahead of the clock a bump may be. */
export const MAX_BUMP_DRIFT_MS = 60_000;
/** What a datagram may hold without being fragmented on Ethernet (1,500 less IPv4 and UDP). */
export const MAX_DATAGRAM_BYTES = 1_472;
/** Room for a value in a store's row. A datagram has room for 1,395 beside its head and an id. */
export const MAX_VALUE_BYTES = 1_400;
