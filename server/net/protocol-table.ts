/**
 * Which protocol a datagram belongs to: one table of (what the socket is for, first bytes), asked
 * once per datagram by admission. A new protocol on a socket is a new row here.
 */
import { REPLY_BYTE, REQUEST_BYTE } from '../../codecs/dht/constants.ts';
import {
  PROTOCOL_DHT,
  PROTOCOL_DHT_REPLY,
  PROTOCOL_DNS,
  PROTOCOL_NONE,
} from '../../workers/protocols.ts';

/** What a socket was opened for. */
export const SOCKET_DNS = 0;
export const SOCKET_DHT = 1;

interface ProtocolRow {
  readonly socketUse: number;
  readonly protocol: number;
  /** Whether the message at bytes[start..start+length) is this protocol's. */
  readonly claims: (bytes: Uint8Array, start: number, length: number) => boolean;
}

/** First match wins. DNS has no magic bytes: on a DNS socket everything is taken for DNS. */
const TABLE: readonly ProtocolRow[] = [
  { socketUse: SOCKET_DNS, protocol: PROTOCOL_DNS, claims: () => true },
  {
    socketUse: SOCKET_DHT,
    protocol: PROTOCOL_DHT,
    claims: (bytes, start) => bytes[start] === REQUEST_BYTE,
  },
  {
    socketUse: SOCKET_DHT,
    protocol: PROTOCOL_DHT_REPLY,
    claims: (bytes, start) => bytes[start] === REPLY_BYTE,
  },
];

/** The protocol of a message, PROTOCOL_NONE when no row claims it. */
export function protocolOf(
  socketUse: number,
  bytes: Uint8Array,
  start: number,
  length: number,
): number {
  for (let i = 0; i < TABLE.length; i++) {
    const row = TABLE[i];
    if (row.socketUse === socketUse && row.claims(bytes, start, length)) return row.protocol;
  }
  return PROTOCOL_NONE;
}
