/** Pushes as a subscriber reads them: recorded, of our server, of dns-packet, and broken. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { encode } from 'dns-packet';
import { nameKey, readPush } from '../../../codecs/dns/client-answer.ts';
import { MAX_PUSHED_SERVICES } from '../../../codecs/dns/client-push.ts';
import { TYPE } from '../../../codecs/dns/constants.ts';
import { MAX_PUSH_BYTES, writePush } from '../../../codecs/dns/push.ts';
import { encodeName } from '../../../codecs/dns/text.ts';
import { hex, loadVectors } from '../../helpers/dns-bytes.ts';
import {
  buildMessage,
  DOMAIN,
  type MessageSpec,
  mapped,
  optRecord,
  type RecordSpec,
  txtRecord,
  u16,
} from '../../helpers/dns-messages.ts';

const WIRE = encodeName(DOMAIN);
const NAME = `test-app.${DOMAIN}`;

/** A service of which the target is given as text of a name, or in wire form. */
function srvRecord(name: string | number[], port: number, target: string | number[]): RecordSpec {
  const wire = typeof target === 'string' ? encodeName(target) : target;
  return { name, type: TYPE.SRV, rdata: [0, 0, 0, 0, ...u16(port), ...wire] };
}

function label(text: string): number[] {
  return [text.length, ...Buffer.from(text), 0];
}

function servicesOf(spec: MessageSpec, domain = WIRE): string[] | undefined {
  const push = readPush(buildMessage({ id: 7, ...spec }), domain);
  if (push === null) return undefined;
  assert.equal(push.id, 7);
  return push.services.map(({ name, peer }) => `${name} ${peer.host} ${peer.port}`);
}

function targetOf(target: string | number[]): string | undefined {
  return servicesOf({ additionals: [srvRecord(NAME, 1, target)] })?.[0].split(' ')[1];
}

test('recorded pushes are read with their meaning, nothing else recorded is one', () => {
  let pushes = 0;
  for (const { name, decoded, hex: text } of loadVectors()) {
    const push = readPush(hex(text), WIRE);
    const isPush = name.startsWith('push query');
    assert.equal(push !== null, isPush, name);
    if (!isPush) continue;
    const key = nameKey(encodeName('vec-name.dns-discovery.local'));
    assert.deepEqual(push, {
      id: decoded.id,
      services: [{ name: 'vec-name', key, peer: { port: 8081, host: '127.0.0.1' } }],
    });
    pushes++;
  }
  assert.equal(pushes, 2);
});

describe('pushes of our own server', () => {
  function exchange(id: string, domain: string, address: Uint8Array, port = 8080): unknown {
    const key = encodeName(id, 64);
    const bytes = new Uint8Array(MAX_PUSH_BYTES);
    const wire = encodeName(domain);
    const length = writePush(bytes, 0, 9, key, 0, key.length - 1, wire, 60, port, address, 0);
    const service = readPush(bytes.subarray(0, length), wire)?.services[0];
    return service === undefined ? undefined : { name: service.name, peer: service.peer };
  }

  test('an IPv4 address comes as four labels', () => {
    const peer = { host: '192.0.2.1', port: 8080 };
    assert.deepEqual(exchange('app', DOMAIN, mapped('192.0.2.1')), { name: 'app', peer });
  });

  test('an IPv6 address comes as one label of its text', () => {
    const address = Uint8Array.from([0x20, 1, 0xd, 0xb8, ...Array(11).fill(0), 1]);
    const peer = { host: '2001:db8::1', port: 65_535 };
    assert.deepEqual(exchange('app', 'a.b.c', address, 65_535), { name: 'app', peer });
    const longest = new Uint8Array(16).fill(0xee);
    assert.deepEqual(exchange('app', DOMAIN, longest, 1), {
      name: 'app',
      peer: { host: Array(8).fill('eeee').join(':'), port: 1 },
    });
  });

  test('ids of several labels and of 64 bytes are names as others are', () => {
    const peer = { host: '10.0.0.1', port: 8080 };
    for (const name of [
      'a.b.c',
      'ab'.repeat(32),
      'MiXed',
      'sp\\032ace',
      'dot\\.ted',
      '\\195\\188',
    ]) {
      assert.deepEqual(exchange(name, DOMAIN, mapped('10.0.0.1')), { name, peer });
    }
    assert.deepEqual(exchange('ü', DOMAIN, mapped('10.0.0.1')), { name: '\\195\\188', peer });
    assert.deepEqual(encodeName('\\195\\188'), encodeName('ü'));
  });
});

describe('pushes of others', () => {
  test("dns-packet's are read, in answers and in additionals", () => {
    const data = { port: 5, target: '10.0.0.1' };
    const record = { type: 'SRV', name: NAME.toUpperCase(), data } as const;
    const more = { ...record, data: { port: 6, target: '10.0.0.2' } } as const;
    const bytes = encode({ type: 'query', id: 8, answers: [record], additionals: [more] });
    const key = nameKey(encodeName(NAME));
    assert.deepEqual(readPush(bytes, WIRE), {
      id: 8,
      services: [
        { name: 'TEST-APP', key, peer: { port: 5, host: '10.0.0.1' } },
        { name: 'TEST-APP', key, peer: { port: 6, host: '10.0.0.2' } },
      ],
    });
  });

  test('names and targets may be compressed', () => {
    const first = srvRecord(NAME, 1, '10.0.0.1');
    const target = 12 + encodeName(NAME).length + 10 + 6;
    const second = srvRecord([1, 120, 0xc0, 12], 2, [0xc0, target]);
    const third = srvRecord([1, 121, 0xc0, 12 + 9], 3, [2, 49, 49, 0xc0, target + 3]);
    assert.deepEqual(servicesOf({ additionals: [first, second, third] }), [
      'test-app 10.0.0.1 1',
      'x.test-app 10.0.0.1 2',
      'y 11.0.0.1 3',
    ]);
  });

  test('port 0 and 0.0.0.0 are kept, the caller knows what they stand for', () => {
    assert.deepEqual(servicesOf({ additionals: [srvRecord(NAME, 0, '0.0.0.0')] }), [
      'test-app 0.0.0.0 0',
    ]);
  });

  test('a target is an address or the service is left out', () => {
    assert.equal(targetOf('255.1.2.3'), '255.1.2.3');
    assert.equal(targetOf(label('::1')), '::1');
    assert.equal(targetOf(label('2001:DB8::1')), '2001:db8::1');
    assert.equal(targetOf(label('::ffff:10.0.0.1')), '10.0.0.1');
    for (const target of ['1.2.3', '1.2.3.4.5', '256.1.1.1', '01.2.3.4', 'localhost', '.']) {
      assert.equal(targetOf(target), undefined, target);
    }
    assert.equal(targetOf(label('::g')), undefined);
    assert.equal(targetOf(label('fe80::1%lo')), undefined);
    assert.equal(targetOf(label('x'.repeat(63))), undefined);
    const longest = `${'0000:'.repeat(6)}255.255.255.255`;
    assert.equal(longest.length, 45);
    assert.equal(targetOf(label(longest)), '::ffff:ffff');
    assert.equal(targetOf(label(`${longest}0`)), undefined);
    assert.equal(targetOf([]), undefined, 'no target');
    assert.equal(targetOf([...encodeName('1.2.3.4'), 0]), undefined, 'more than a target');
    assert.equal(targetOf([0xc0, 200]), undefined, 'a pointer forwards');
  });

  test('names elsewhere, the domain itself, other types and sections are left out', () => {
    const ours = srvRecord(NAME, 1, '10.0.0.1');
    const others = [
      srvRecord(DOMAIN, 2, '10.0.0.1'),
      srvRecord('test-app.example', 3, '10.0.0.1'),
      srvRecord('local', 4, '10.0.0.1'),
      srvRecord('.', 5, '10.0.0.1'),
      srvRecord(`x${DOMAIN}`, 6, '10.0.0.1'),
      { ...ours, class: 3 },
      txtRecord(NAME, 'announce=1'),
      optRecord(),
    ];
    assert.deepEqual(servicesOf({ additionals: [...others, ours] }), ['test-app 10.0.0.1 1']);
    assert.equal(servicesOf({ additionals: others }), undefined);
    assert.equal(servicesOf({ authorities: [ours] }), undefined);
    assert.equal(servicesOf({ additionals: [ours] }, encodeName('other.domain')), undefined);
    assert.equal(servicesOf({ additionals: [ours] }, Uint8Array.of(70, 0)), undefined);
  });

  test('it is a query without a question', () => {
    const additionals = [srvRecord(NAME, 1, '10.0.0.1')];
    assert.equal(servicesOf({ additionals })?.length, 1);
    assert.equal(servicesOf({ additionals, flags: 0x8000 }), undefined);
    assert.equal(servicesOf({ additionals, flags: 0x2800 }), undefined);
    assert.equal(servicesOf({ additionals, question: { name: NAME } }), undefined);
  });

  test('of many services the first sixteen are told', () => {
    const additionals = Array.from({ length: 40 }, (_, i) => srvRecord(NAME, i, '10.0.0.1'));
    assert.equal(servicesOf({ additionals })?.length, MAX_PUSHED_SERVICES);
    const foreign = Array<RecordSpec>(16).fill(srvRecord('x.example', 1, '10.0.0.1'));
    assert.equal(servicesOf({ additionals: [...foreign, ...additionals] }), undefined);
  });

  test('every cut is refused, bytes behind it are ignored, counts must be plausible', () => {
    const bytes = buildMessage({ additionals: [srvRecord(NAME, 1, '10.0.0.1')] });
    const whole = readPush(bytes, WIRE);
    assert.notEqual(whole, null);
    for (let length = 0; length < bytes.length; length++) {
      assert.equal(readPush(bytes.subarray(0, length), WIRE), null, `${length}`);
    }
    assert.deepEqual(readPush(Buffer.concat([bytes, Buffer.alloc(5)]), WIRE), whole);
    bytes[10] = 0xff;
    assert.equal(readPush(bytes, WIRE), null);
  });
});
