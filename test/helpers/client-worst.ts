/** Messages that make a discovery client work hard, and a count of the bytes it looks at. */
import { CLASS, TYPE } from '../../codecs/dns/constants.ts';
import { encodeName } from '../../codecs/dns/text.ts';
import {
  buildMessage,
  DOMAIN,
  type MessageSpec,
  peers4,
  type RecordSpec,
  stringsOf,
  u16,
} from './dns-messages.ts';

/** A name of 127 labels, the most there are, and of 255 bytes. */
export const WORST_NAME: readonly number[] = [...Array(127).fill([1, 97]).flat(), 0];
/** It differs in its last label. */
const NEAR_MISS = WORST_NAME.with(253, 98);
const RESPONSE = 0x8000;
const QUESTION = { name: [...WORST_NAME] };
const FIRST_RECORD = 12 + WORST_NAME.length + 4;

export type WorstCase = readonly [name: string, message: Uint8Array];

/** How many bytes of `message` are read by index. */
export function countReads(message: Uint8Array, read: (message: Uint8Array) => unknown): number {
  let count = 0;
  const counted = new Proxy(message, {
    get(target, key) {
      if (typeof key === 'string' && /^\d/.test(key)) count++;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  read(counted);
  return count;
}

/** The message with as many of the records, given by their number, as `most` bytes hold. */
function fill(
  most: number,
  spec: MessageSpec,
  section: 'answers' | 'additionals',
  make: (index: number, offset: number) => RecordSpec,
): Uint8Array {
  const records: RecordSpec[] = [];
  let offset = buildMessage(spec).length;
  for (;;) {
    const record = make(records.length, offset);
    const name = typeof record.name === 'string' ? encodeName(record.name) : record.name;
    offset += name.length + 10 + record.rdata.length;
    if (offset > most) return buildMessage({ ...spec, [section]: records });
    records.push(record);
  }
}

function pointer(target: number): number[] {
  return [0xc0 | (target >> 8), target & 255];
}

/** Every answer of a record about the name that holds `strings` again and again. */
function manyStrings(most: number, ...strings: string[]): Uint8Array {
  const unit = stringsOf(...strings);
  const count = Math.floor((most - FIRST_RECORD - 12) / unit.length);
  const rdata = Buffer.concat(Array<Uint8Array>(count).fill(unit));
  return buildMessage({
    flags: RESPONSE,
    question: QUESTION,
    answers: [{ name: pointer(12), type: TYPE.TXT, rdata }],
  });
}

/** Answers about WORST_NAME of at most `most` bytes. */
export function answerWorst(most: number): WorstCase[] {
  const spec = { flags: RESPONSE, question: QUESTION };
  const txt = (name: number[]): RecordSpec => ({ name, type: TYPE.TXT, rdata: [0] });
  const starts = [12];
  const hops = (_: number, offset: number): RecordSpec => {
    starts.push(offset);
    return txt(pointer(starts[Math.min(starts.length - 2, 7)]));
  };
  const misses = (index: number): RecordSpec =>
    txt(index === 0 ? NEAR_MISS : pointer(FIRST_RECORD));
  const overlong = `peers=${'CgAAAU4g'.repeat(30)}`;
  return [
    ['hops to a long name', fill(most, spec, 'answers', hops)],
    ['long names that nearly match', fill(most, spec, 'answers', misses)],
    ['long owners written out', fill(most, spec, 'answers', () => txt([...WORST_NAME]))],
    ['owners that point', fill(most, spec, 'answers', () => txt(pointer(12)))],
    [
      'the least records',
      fill(most, spec, 'additionals', () => ({ name: [0], type: 1, rdata: [] })),
    ],
    ['empty strings', manyStrings(most, '')],
    ['strings of one peer', manyStrings(most, 'peers=CgAAAU4g')],
    ['strings of no peer', manyStrings(most, 'peers=')],
    [
      'peers of IPv6',
      manyStrings(most, `peers6=${Buffer.from(peers4(33).subarray(0, 180)).toString('base64')}`),
    ],
    ['strings that are no base64', manyStrings(most, `peers=${'A'.repeat(247)}!`)],
    [
      'strings that are nearly overlong',
      manyStrings(most, overlong, 'x'.repeat(255 - overlong.length - 1)),
    ],
    ['tokens', manyStrings(most, `token=${'x'.repeat(200)}`)],
    ['hosts', manyStrings(most, 'host=1:2:3:4:5:6:255.255.255.255')],
    ['ports', manyStrings(most, 'port=65535')],
    ['options', fillOptions(most, [])],
    ['cookies', fillOptions(most, [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])],
  ];
}

function fillOptions(most: number, first: number[]): Uint8Array {
  const room = most - FIRST_RECORD - 11 - first.length;
  const rdata = [...first, ...Array(4 * Math.floor(room / 4)).fill(0)];
  const opt: RecordSpec = { name: '.', type: TYPE.OPT, class: 1232, rdata };
  return buildMessage({ flags: RESPONSE, question: QUESTION, additionals: [opt] });
}

/** Pushes of at most `most` bytes under DOMAIN. */
export function pushWorst(most: number): WorstCase[] {
  const domain = encodeName(DOMAIN);
  const labels = [
    ...Array((254 - domain.length) >> 1)
      .fill([1, 97])
      .flat(),
    ...domain,
  ];
  const srv = (name: number[], target: number[] | Uint8Array): RecordSpec => ({
    name,
    type: TYPE.SRV,
    class: CLASS.IN,
    rdata: [0, 0, 0, 0, ...u16(1), ...target],
  });
  const ip4 = encodeName('255.255.255.255');
  const text = 'eeee:eeee:eeee:eeee:eeee:eeee:255.255.255.255';
  const ip6 = [text.length, ...Buffer.from(text), 0];
  const starts: number[] = [];
  const hops = (index: number, offset: number): RecordSpec => {
    starts.push(offset);
    return srv(index === 0 ? labels : pointer(starts[Math.min(index - 1, 7)]), ip4);
  };
  const odd = [
    ...Array((254 - domain.length) >> 1)
      .fill([1, 0xff])
      .flat(),
    ...domain,
  ];
  return [
    ['hops to a long name', fill(most, {}, 'additionals', hops)],
    ['long names', fill(most, {}, 'additionals', () => srv(labels, ip6))],
    [
      'short names',
      fill(most, {}, 'additionals', (i) => srv(i === 0 ? [...domain] : [1, 97, 0xc0, 12], ip6)),
    ],
    [
      'names of odd bytes',
      fill(most, {}, 'additionals', (i) => srv(i === 0 ? odd : pointer(12), ip4)),
    ],
    [
      'long targets',
      fill(most, {}, 'additionals', (i) =>
        srv(i === 0 ? labels : pointer(12), i === 0 ? ip4 : pointer(12)),
      ),
    ],
    ['the least records', fill(most, {}, 'additionals', () => ({ name: [0], type: 1, rdata: [] }))],
  ];
}
