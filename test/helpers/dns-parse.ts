/**
 * A strict, slow, throwing parser of whole messages, written for tests only: what our answers must
 * satisfy.
 */

export interface ParsedRecord {
  name: string;
  type: number;
  class: number;
  ttl: number;
  rdataStart: number;
  rdata: Uint8Array;
}

export interface Parsed {
  id: number;
  flags: number;
  questions: { name: string; type: number; class: number }[];
  answers: ParsedRecord[];
  authorities: ParsedRecord[];
  additionals: ParsedRecord[];
}

/** Throws unless the message is well-formed to its last byte. Names are latin1 text, case kept. */
export function parseStrict(message: Uint8Array): Parsed {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const parsed: Parsed = {
    id: view.getUint16(0),
    flags: view.getUint16(2),
    questions: [],
    answers: [],
    authorities: [],
    additionals: [],
  };
  let at = 12;
  for (let i = 0; i < view.getUint16(4); i++) {
    const [name, end] = parseName(message, at);
    parsed.questions.push({ name, type: view.getUint16(end), class: view.getUint16(end + 2) });
    at = end + 4;
  }
  const sections = [parsed.answers, parsed.authorities, parsed.additionals];
  sections.forEach((section, index) => {
    for (let i = 0; i < view.getUint16(6 + 2 * index); i++) {
      const [name, end] = parseName(message, at);
      const rdataStart = end + 10;
      at = rdataStart + view.getUint16(end + 8);
      if (at > message.length) throw new Error('record over the end');
      section.push({
        name,
        type: view.getUint16(end),
        class: view.getUint16(end + 2),
        ttl: view.getUint32(end + 4),
        rdataStart,
        rdata: message.slice(rdataStart, at),
      });
    }
  });
  if (at !== message.length) throw new Error(`${message.length - at} bytes behind the last record`);
  return parsed;
}

/** Name and the offset behind it. */
export function parseName(message: Uint8Array, offset: number): [string, number] {
  const labels: string[] = [];
  let at = offset;
  let behind = -1;
  for (let steps = 0; steps < 256; steps++) {
    if (at >= message.length) throw new Error('name over the end');
    const length = message[at];
    if (length === 0) return [labels.join('.'), behind < 0 ? at + 1 : behind];
    if (length >= 0xc0) {
      const target = ((length & 0x3f) << 8) | message[at + 1];
      if (behind < 0) behind = at + 2;
      if (target >= at) throw new Error('pointer forwards');
      at = target;
    } else if (length <= 64) {
      if (at + 1 + length > message.length) throw new Error('label over the end');
      labels.push(Buffer.from(message.subarray(at + 1, at + 1 + length)).toString('latin1'));
      at += 1 + length;
    } else {
      throw new Error(`label of length ${length}`);
    }
  }
  throw new Error('name without end');
}

/** The character-strings of a TXT rdata. */
export function parseStrings(rdata: Uint8Array): Uint8Array[] {
  const strings: Uint8Array[] = [];
  for (let at = 0; at < rdata.length; at += 1 + rdata[at]) {
    if (at + 1 + rdata[at] > rdata.length) throw new Error('string over the end');
    strings.push(rdata.slice(at + 1, at + 1 + rdata[at]));
  }
  return strings;
}
