/** Messages for the event `traffic`, decoded by dns-packet behind a look at their header. */
import { type DecodedPacket, decode } from 'dns-packet';
import {
  HEADER_ANCOUNT,
  HEADER_ARCOUNT,
  HEADER_BYTES,
  HEADER_NSCOUNT,
  HEADER_QDCOUNT,
  MIN_QUESTION_BYTES,
  MIN_RECORD_BYTES,
} from '../../codecs/dns/constants.ts';
import { readU16 } from '../../codecs/dns/wire.ts';

/** Longer datagrams are not shown as traffic: peers send none, and decoding them takes long. */
const MAX_TOLD_BYTES = 4096;

/**
 * The message, or null when it is none, or longer than `mostBytes`. dns-packet makes arrays as long
 * as the header says, and follows pointers to pointers: a long datagram may cost it a second.
 */
export function decodeMessage(bytes: Uint8Array, mostBytes = MAX_TOLD_BYTES): DecodedPacket | null {
  if (bytes.length < HEADER_BYTES || bytes.length > mostBytes) return null;
  const questions = readU16(bytes, HEADER_QDCOUNT);
  const records =
    readU16(bytes, HEADER_ANCOUNT) +
    readU16(bytes, HEADER_NSCOUNT) +
    readU16(bytes, HEADER_ARCOUNT);
  const least = HEADER_BYTES + questions * MIN_QUESTION_BYTES + records * MIN_RECORD_BYTES;
  if (least > bytes.length) return null;
  try {
    return decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch {
    // Not worth telling anybody: it was no message.
    return null;
  }
}
