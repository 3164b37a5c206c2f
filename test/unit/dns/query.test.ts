import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EDNS_FLAG_DO, MAX_TXT_RECORDS, RCODE, TYPE } from '../../../codecs/dns/constants.ts';
import { questionKey } from '../../../codecs/dns/query.ts';
import { encodeName } from '../../../codecs/dns/text.ts';
import {
  Bench,
  DOMAIN,
  type MessageSpec,
  optRecord,
  type RecordSpec,
  stringsOf,
  txtRecord,
} from '../../helpers/dns-messages.ts';

const NAME = `vec-name.${DOMAIN}`;
const question = { name: NAME };
const bench = new Bench();
const { reader } = bench;

function accepts(spec: MessageSpec): void {
  assert.equal(bench.read(spec), RCODE.NOERROR);
}

function refuses(spec: MessageSpec, why: string): void {
  assert.equal(bench.read(spec), RCODE.FORMERR, why);
}

function txtTexts(): string[] {
  return Array.from({ length: reader.txtCount }, (_, i) =>
    Buffer.from(bench.arena.bytes.slice(reader.txtStart[i], reader.txtEnd[i])).toString('latin1'),
  );
}

test('a plain question', () => {
  accepts({
    id: 0x7d56,
    flags: 0x0110,
    question: { name: 'A.DNS-Discovery.local', type: 33, class: 1 },
  });
  assert.equal(reader.id, 0x7d56);
  assert.equal(reader.flags, 0x0110);
  assert.equal(reader.qdcount, 1);
  assert.equal(reader.qtype, TYPE.SRV);
  assert.equal(reader.qclass, 1);
  assert.equal(reader.domain, 0);
  assert.equal(reader.isApex, false);
  assert.equal(bench.key, '\x01a');
  assert.equal(reader.questionEnd, bench.arena.start + bench.length);
  assert.equal(reader.hasOpt, false);
  assert.equal(reader.txtCount, 0);
});

test('apex, foreign, single label', () => {
  accepts({ question: { name: 'DNS-DISCOVERY.LOCAL' } });
  assert.deepEqual([reader.domain, reader.isApex, reader.keyEnd], [0, true, 0]);
  accepts({ question: { name: 'x.other.domain' } });
  assert.deepEqual([reader.domain, reader.isApex, reader.keyEnd], [-1, false, 0]);
  accepts({ question: { name: '.' } });
  assert.deepEqual([reader.domain, reader.isApex, reader.keyEnd], [-1, false, 0]);
  accepts({ question: { name: 'Test-App' } });
  assert.deepEqual([reader.domain, reader.isApex, bench.key], [0, false, '\x08test-app']);
});

test('ids of 64 hex characters, as old clients send them', () => {
  const id = 'ABCDEF0123456789'.repeat(4);
  accepts({
    question: { name: `${id}.${DOMAIN}` },
    additionals: [txtRecord(`${id}.${DOMAIN}`, 'a')],
  });
  assert.equal(bench.key, `@${id.toLowerCase()}`);
  assert.equal(reader.txtCount, 1);
  refuses({ question: { name: [0x41, ...Array(65).fill(97), 0] } }, 'a label of 65 bytes');
});

test('discovery records: answers and additionals, of the question name, by any spelling', () => {
  accepts({
    question,
    answers: [txtRecord(NAME.toUpperCase(), 'one')],
    authorities: [txtRecord(NAME, 'authority')],
    additionals: [
      txtRecord([0xc0, 12], 'two'),
      txtRecord([8, ...Buffer.from('VEC-NAME'), 0xc0, 21], 'three'),
      { ...txtRecord(NAME, 'chaos'), class: 3 },
      { name: NAME, type: TYPE.SRV, rdata: [1, 2, 3] },
    ],
  });
  assert.deepEqual(txtTexts(), ['\x03one', '\x03two', '\x05three']);
});

test('records of other names are not remembered', () => {
  accepts({ question, additionals: [txtRecord(`x.${DOMAIN}`, 'no'), txtRecord(NAME, 'yes')] });
  assert.deepEqual(txtTexts(), ['\x03yes']);
});

test('a compressed owner is the name it points to, not any pointer', () => {
  const inQuestion = [0xc0, 12 + 1 + 'vec-name'.length];
  const firstRecord = [0xc0, 12 + encodeName(NAME, 64).length + 4];
  accepts({
    question,
    additionals: [
      { name: `x.${DOMAIN}`, type: TYPE.SRV, rdata: [1] },
      txtRecord(inQuestion, 'the bare domain'),
      txtRecord(firstRecord, 'of another record'),
      txtRecord([0xc0, 12], 'own'),
    ],
  });
  assert.deepEqual(txtTexts(), ['\x03own']);
  accepts({
    question,
    additionals: [{ name: NAME, type: TYPE.SRV, rdata: [1] }, txtRecord(firstRecord, 'own')],
  });
  assert.deepEqual(txtTexts(), ['\x03own'], 'the same name elsewhere');
});

test('only the first MAX_TXT_RECORDS are looked at', () => {
  const additionals = Array.from({ length: 10 }, (_, i) => txtRecord(NAME, `${i}`));
  accepts({ question, additionals });
  assert.deepEqual(txtTexts(), ['\x010', '\x011', '\x012', '\x013']);
  assert.equal(reader.txtCount, MAX_TXT_RECORDS);
  const others = additionals.slice(0, 4).map((record) => ({ ...record, name: `x.${DOMAIN}` }));
  accepts({ question, additionals: [...others, txtRecord(NAME, 'late')] });
  assert.equal(reader.txtCount, 0);
});

test('without a question the first owner is the name', () => {
  accepts({
    additionals: [
      txtRecord(NAME, 'one'),
      txtRecord(`x.${DOMAIN}`, 'no'),
      txtRecord([0xc0, 12], 'two'),
    ],
  });
  assert.deepEqual(
    [reader.qdcount, reader.qtype, reader.domain, bench.key],
    [0, 0, 0, '\x08vec-name'],
  );
  assert.equal(reader.questionEnd, bench.arena.start + 12);
  assert.deepEqual(txtTexts(), ['\x03one', '\x03two']);
  accepts({ additionals: [optRecord(), txtRecord(NAME, 'one')] });
  assert.deepEqual([bench.key, reader.hasOpt, reader.txtCount], ['\x08vec-name', true, 1]);
  refuses({ additionals: [optRecord()] }, 'only OPT');
  refuses({ additionals: [txtRecord([0xc0, 12], 'a')] }, 'a first name that is a pointer');
});

test('EDNS', () => {
  accepts({
    question,
    additionals: [optRecord(4096, 0, EDNS_FLAG_DO, [0, 10, 0, 2, 1, 2, 0, 8, 0, 0])],
  });
  assert.deepEqual(
    [reader.hasOpt, reader.udpSize, reader.ednsVersion, reader.ednsFlags],
    [true, 4096, 0, EDNS_FLAG_DO],
  );
  accepts({ question, additionals: [optRecord(512, 1, 0, [1, 2, 3])] });
  assert.equal(reader.ednsVersion, 1);
  accepts({ question });
  assert.deepEqual(
    [reader.hasOpt, reader.udpSize, reader.ednsVersion, reader.ednsFlags],
    [false, 0, 0, 0],
  );
  refuses({ question, additionals: [optRecord(), optRecord()] }, 'two OPT');
  refuses({ question, answers: [optRecord()] }, 'OPT among the answers');
  refuses({ question, authorities: [optRecord()] }, 'OPT in the authority section');
  refuses({ question, additionals: [{ ...optRecord(), name: 'x' }] }, 'OPT with a name');
  refuses({ question, additionals: [{ ...optRecord(), name: [0xc0, 40] }] }, 'OPT with a pointer');
  refuses({ question, additionals: [optRecord(512, 0, 0, [0, 10, 0])] }, 'half an option');
  refuses({ question, additionals: [optRecord(512, 0, 0, [0, 10, 0, 9, 1])] }, 'option too long');
});

test('malformed records', () => {
  const txt = (rdata: Uint8Array | number[]): RecordSpec => ({ name: NAME, type: TYPE.TXT, rdata });
  refuses({ question, additionals: [txt([])] }, 'TXT without a string');
  refuses({ question, additionals: [txt([2, 97])] }, 'string over the end of rdata');
  refuses({ question, additionals: [txt([1, 97, 1])] }, 'last string over the end');
  refuses({ question, authorities: [txt([2, 97])] }, 'also where it is not acted upon');
  refuses({ question, additionals: [{ ...txt([1, 97]), rdlength: 3 }] }, 'rdlength over the end');
  refuses({ question, additionals: [{ ...txt([1, 97]), type: 999, rdlength: 3 }] }, 'any type');
  refuses({ question: { name: [0xc0, 12] } }, 'a compressed question');
  refuses({ question: { name: [3, 97, 97, 97, 0xc0, 12] } }, 'a partly compressed question');
  const two = buildCounts({ question, additionals: [txt([0])] }, 11, 2);
  assert.equal(bench.read(two), RCODE.FORMERR, 'fewer records than announced');
});

function buildCounts(spec: MessageSpec, offset: number, value: number): Uint8Array {
  bench.read(spec);
  const message = bench.arena.message(bench.length);
  message[offset] = value;
  return message;
}

test('every cut of a query with records is FORMERR or has no record left to miss', () => {
  bench.read({ question, additionals: [txtRecord(NAME, 'token=x', 'announce=1'), optRecord()] });
  const whole = bench.arena.message(bench.length);
  for (let cut = 0; cut < whole.length; cut++) {
    assert.equal(bench.read(whole.slice(0, cut)), RCODE.FORMERR, `${cut}`);
  }
  assert.equal(bench.read(whole), RCODE.NOERROR);
});

test('what is behind the last record is ignored', () => {
  accepts({ question, trailing: [1, 2, 3] });
  assert.equal(reader.questionEnd, bench.arena.start + bench.length - 3);
  accepts({ question, additionals: [txtRecord(NAME, 'a')], trailing: [0] });
  assert.equal(reader.txtCount, 1);
});

test('TSIG and other types are skipped unread', () => {
  const tsig = { name: 'key.name', type: 250, class: 255, rdata: [0xff, 0xff, 0xff] };
  accepts({ question, additionals: [txtRecord(NAME, 'a'), optRecord(), tsig] });
  assert.deepEqual([reader.txtCount, reader.hasOpt], [1, true]);
});

test('questionKey: the key, or 0 for what has none', () => {
  const keyOf = (spec: MessageSpec): number => {
    bench.read(spec);
    return questionKey(reader, bench.arena.bytes, bench.arena.start, bench.length);
  };
  assert.equal(keyOf({ question }), 9);
  assert.equal(bench.key, '\x08vec-name');
  assert.equal(keyOf({ question: { name: 'single' } }), 7);
  assert.equal(keyOf({ question: { name: DOMAIN } }), 0);
  assert.equal(keyOf({ question: { name: 'x.other.domain' } }), 0);
  assert.equal(keyOf({ question: { name: [0xc0, 12] } }), 0);
  assert.equal(keyOf({ additionals: [txtRecord(NAME, 'a')] }), 9);
});

test('a failed read leaves nothing of the one before', () => {
  accepts({ question, additionals: [txtRecord(NAME, 'a'), optRecord()] });
  assert.equal(bench.read(new Uint8Array(3)), RCODE.FORMERR);
  assert.deepEqual(
    [
      reader.txtCount,
      reader.hasOpt,
      reader.domain,
      reader.keyEnd,
      reader.foldedEnd,
      reader.qdcount,
    ],
    [0, false, -1, 0, 0, 0],
  );
});

test('stringsOf, the helper, frames', () => {
  assert.deepEqual([...stringsOf('a', '')], [1, 97, 0]);
});
