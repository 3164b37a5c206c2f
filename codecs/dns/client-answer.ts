/**
 * What a discovery client reads: answers to its questions (pushes: client-push.ts). Whoever can
 * send to its port may have sent them: nothing here throws, the work is linear in the length, and
 * nothing is made of a message before all of it is known to be well-formed.
 */
import { AboutAsker } from './client-about.ts';
import { areOptions, readOpt } from './client-opt.ts';
import {
  CLASS,
  FLAG_QR,
  FLAG_TC,
  HEADER_ANCOUNT,
  HEADER_BYTES,
  HEADER_FLAGS,
  HEADER_NSCOUNT,
  HEADER_QDCOUNT,
  TYPE,
} from './constants.ts';
import { MAX_MESSAGE_BYTES, OPCODE_BITS, RecordWalk } from './message-walk.ts';
import { FoldedName, nameEquals } from './name.ts';
import {
  addPeers4,
  addPeers6,
  areStrings,
  PEERS4_KEY,
  PEERS6_KEY,
  type PeerAddress,
  stringEnd,
  valueStart,
} from './peer-strings.ts';
import { readU16 } from './wire.ts';

export { nameKey, type Push, readPush } from './client-push.ts';
export type { PeerAddress };

const RCODE_BITS = 0x000f;
const QUESTION_POINTER = 0xc000 | HEADER_BYTES;
/**
 * Owners of one answer that are compared byte by byte: servers send one record, with a pointer to
 * the question, and those are not counted. Others beyond it are taken for another name's.
 */
const MAX_COMPARED_OWNERS = 16;

/** A server's answer, as far as it is about the question. */
export interface Answer {
  readonly id: number;
  /** With the OPT's upper bits. */
  readonly rcode: number;
  readonly isTruncated: boolean;
  /** False: an error without the question; only `id`, `rcode` and the cookie mean something. */
  readonly hasQuestion: boolean;
  /** Printable ASCII, 1 to MAX_TOKEN_TEXT_BYTES (client-query.ts). */
  readonly token: string | null;
  /** The address that the server sees, as its answer to a probe says; checked, in its one form. */
  readonly host: string | null;
  /** The port that the server sees; -1: not told. */
  readonly port: number;
  /** Never with port 0; a host of 0.0.0.0 stands for the server's own. */
  readonly peers: readonly PeerAddress[];
  readonly hasOpt: boolean;
  /** 8 bytes, or 16 to 40: the client's half first. A copy. */
  readonly cookie: Uint8Array | null;
}

/** What is read of an answer's records. */
interface Findings {
  readonly about: AboutAsker;
  readonly peers: PeerAddress[];
  hasOpt: boolean;
  extendedRcode: number;
  cookie: Uint8Array | null;
}

const asked = new FoldedName();

/** The message's id; -1 when it is shorter than a header. */
export function messageId(bytes: Uint8Array): number {
  return bytes.length < HEADER_BYTES ? -1 : readU16(bytes, 0);
}

/** Whether it has a header with QR set. */
export function isResponse(bytes: Uint8Array): boolean {
  return bytes.length >= HEADER_BYTES && (readU16(bytes, HEADER_FLAGS) & FLAG_QR) !== 0;
}

/**
 * Reads the answer to the TXT question for `name` (wire form with the root). Null when it is
 * malformed (see `RecordWalk`; also a TXT whose strings do not fill it, an OPT that is not the only
 * one, not an additional one, or broken, a COOKIE of a wrong length) or no answer to that question:
 * exactly one question must repeat it, ASCII case aside, or none in an error without answers.
 *
 * Token, host and port are those of the first TXT answer about the name, as with the original; the
 * last of equal keys counts. Peers are those of all strings of all TXT answers about it. A value
 * that makes no sense is as good as none.
 */
export function readAnswer(bytes: Uint8Array, name: Uint8Array): Answer | null {
  if (!isResponse(bytes) || bytes.length > MAX_MESSAGE_BYTES) return null;
  const flags = readU16(bytes, HEADER_FLAGS);
  if ((flags & OPCODE_BITS) !== 0) return null;
  if (asked.read(name, 0, name.length) !== name.length) return null;
  const hasQuestion = readU16(bytes, HEADER_QDCOUNT) !== 0;
  const records = hasQuestion ? questionEnd(bytes) : HEADER_BYTES;
  if (records < 0 || !isWellFormed(bytes, records)) return null;
  const findings = readRecords(bytes, records);
  const rcode = (findings.extendedRcode << 4) | (flags & RCODE_BITS);
  if (!hasQuestion && (rcode === 0 || hasAnswers(bytes))) return null;
  return {
    id: readU16(bytes, 0),
    rcode,
    isTruncated: (flags & FLAG_TC) !== 0,
    hasQuestion,
    token: findings.about.token(bytes),
    host: findings.about.host(bytes),
    port: findings.about.port(bytes),
    peers: findings.peers,
    hasOpt: findings.hasOpt,
    cookie: findings.cookie,
  };
}

function hasAnswers(bytes: Uint8Array): boolean {
  return (readU16(bytes, HEADER_ANCOUNT) | readU16(bytes, HEADER_NSCOUNT)) !== 0;
}

/** The offset behind the one question, or -1 when it is not the one that was asked. */
function questionEnd(bytes: Uint8Array): number {
  if (readU16(bytes, HEADER_QDCOUNT) !== 1) return -1;
  if (!nameEquals(bytes, HEADER_BYTES, 0, bytes.length, asked.folded, 0, asked.end)) return -1;
  // Equal and without room for a pointer before it: as long as ours.
  const fixed = HEADER_BYTES + asked.end + 1;
  if (fixed + 4 > bytes.length) return -1;
  const isTxt = readU16(bytes, fixed) === TYPE.TXT && readU16(bytes, fixed + 2) === CLASS.IN;
  return isTxt ? fixed + 4 : -1;
}

/** Whether everything that will be read holds together. */
function isWellFormed(bytes: Uint8Array, records: number): boolean {
  const walk = new RecordWalk(bytes, records);
  let hasOpt = false;
  while (walk.next()) {
    if (walk.type === TYPE.TXT) {
      if (!areStrings(bytes, walk.rdata, walk.rdataEnd)) return false;
    } else if (walk.type === TYPE.OPT) {
      if (hasOpt || !walk.isAdditional || bytes[walk.owner] !== 0) return false;
      if (!areOptions(bytes, walk)) return false;
      hasOpt = true;
    }
  }
  return !walk.isMalformed;
}

function readRecords(bytes: Uint8Array, records: number): Findings {
  const findings: Findings = {
    about: new AboutAsker(),
    peers: [],
    hasOpt: false,
    extendedRcode: 0,
    cookie: null,
  };
  const walk = new RecordWalk(bytes, records);
  let compared = 0;
  let isFirst = true;
  while (walk.next()) {
    if (walk.type === TYPE.OPT) {
      findings.hasOpt = true;
      const opt = readOpt(bytes, walk);
      findings.extendedRcode = opt.extendedRcode;
      findings.cookie = opt.cookie;
    } else if (walk.type === TYPE.TXT && walk.klass === CLASS.IN && walk.isAnswer) {
      const isRepeated = readU16(bytes, walk.owner) === QUESTION_POINTER;
      if (!isRepeated && compared++ >= MAX_COMPARED_OWNERS) continue;
      if (!isRepeated && !isOwnedByAsked(bytes, walk.owner)) continue;
      readTxt(findings, bytes, walk, isFirst);
      isFirst = false;
    }
  }
  return findings;
}

function isOwnedByAsked(bytes: Uint8Array, owner: number): boolean {
  return nameEquals(bytes, owner, 0, bytes.length, asked.folded, 0, asked.end);
}

function readTxt(findings: Findings, bytes: Uint8Array, walk: RecordWalk, isFirst: boolean): void {
  const end = walk.rdataEnd;
  let next = walk.rdata;
  while (next < end) {
    const at = next + 1;
    next = stringEnd(bytes, next, end);
    const peers4 = valueStart(bytes, at, next, PEERS4_KEY);
    const peers6 = valueStart(bytes, at, next, PEERS6_KEY);
    if (peers4 >= 0) addPeers4(findings.peers, bytes, peers4, next);
    else if (peers6 >= 0) addPeers6(findings.peers, bytes, peers6, next);
    else if (isFirst) findings.about.note(bytes, at, next);
  }
}
