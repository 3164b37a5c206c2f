import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { guardMulticast, MULTICAST_VERDICT } from '../../../server/net/multicast/guard.ts';
import {
  chooseLinks,
  interfaceOf,
  interfaceProblem,
  isOnLink,
  isOwnAddress,
  readInterfaces,
} from '../../../server/net/multicast/interfaces.ts';
import { ALL_GROUPS, MulticastSocket } from '../../../server/net/multicast/socket.ts';
import { FakeNetwork, failure } from '../../helpers/fake-multicast.ts';
import { FakeClock } from '../../helpers/tcp-client.ts';

const QUESTION = Buffer.from('000000000001000000000000000000100001', 'hex');

interface Opened {
  readonly network: FakeNetwork;
  readonly clock: FakeClock;
  readonly socket: MulticastSocket;
  readonly errors: Error[];
  readonly joined: string[];
}

function open(
  network: FakeNetwork,
  interfaces: readonly string[] | null = null,
  admit: (bytes: Buffer) => boolean = () => true,
): Opened {
  const clock = new FakeClock();
  const joined: string[] = [];
  const errors: Error[] = [];
  const socket = new MulticastSocket({
    interfaces,
    clock,
    admit,
    onJoined: ({ family, name }) => joined.push(`${name} ${family}`),
    list: network.list,
    create: network.create,
  });
  socket.on('error', (error) => errors.push(error));
  socket.open();
  return { network, clock, socket, errors, joined };
}

/** eth0 and eth1 with both families, and loopback. */
function office(): FakeNetwork {
  const network = new FakeNetwork();
  network.up('lo', '127.0.0.1/8', '::1/128');
  network.up('eth0', '10.0.0.1/24', 'fe80::1/64', '2001:db8::1/64');
  network.up('eth1', '192.168.7.1/16', 'fe80::2/64');
  return network;
}

function send(socket: MulticastSocket, to: string, port = 5353): (Error | null)[] {
  const done: (Error | null)[] = [];
  socket.send(QUESTION, 0, QUESTION.length, port, to, (error) => done.push(error));
  return done;
}

function sentBy(network: FakeNetwork): string[] {
  return network.sockets.flatMap((socket) =>
    socket.sent
      .splice(0)
      .map(({ address, port, via }) => `${address} ${port}${socket.is6 ? '' : ` ${via}`}`),
  );
}

describe('guard', () => {
  const header = (flags: number, counts: number[], length: number): Buffer => {
    const bytes = Buffer.alloc(length);
    bytes.writeUInt16BE(flags, 2);
    for (const [i, count] of counts.entries()) bytes.writeUInt16BE(count, 4 + 2 * i);
    return bytes;
  };
  /** A question, a chain of `count` pointers in a TXT record, and a record named by the last. */
  const pointers = (count: number): Buffer => {
    const first = 29;
    const bytes = Buffer.alloc(first + 2 * count + 12);
    bytes.writeUInt16BE(0x8400, 2);
    bytes.writeUInt16BE(1, 4);
    bytes.writeUInt16BE(2, 6);
    bytes.writeUInt16BE(16, 18);
    bytes.writeUInt16BE(1 + 2 * count, first - 3);
    bytes[first - 1] = 2 * count;
    let last = 12;
    for (let at = first; at < first + 2 * count; at += 2) {
      bytes.writeUInt16BE(0xc000 | last, at);
      last = at;
    }
    bytes.writeUInt16BE(0xc000 | (last - 2), first + 2 * count);
    bytes.writeUInt16BE(16, first + 2 + 2 * count);
    return bytes;
  };
  const { OK, TOO_SHORT, TOO_LONG, OPCODE, COUNTS, COSTLY } = MULTICAST_VERDICT;
  const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
  const question = '0000 0000 0001 0000 0000 0000';
  const record = '0000 8400 0000 0001 0000 0000 00';
  for (const [what, bytes, verdict] of [
    ['nothing at all', Buffer.alloc(0), TOO_SHORT],
    ['11 bytes', Buffer.alloc(11), TOO_SHORT],
    ['an empty message', header(0, [], 12), OK],
    ['a response', hex(`${record} 0010 0001 00000000 0000`), OK],
    ['a question cut off behind its name', hex(`${question} 03 616263 00 0010`), COSTLY],
    ['a label over the end', hex(`${question} 20 616263 00 0010 0001`), COSTLY],
    ['a name that points to itself', hex(`${question} c00c 0010 0001 00`), COSTLY],
    ['a record over the end', hex(`${record} 0010 0001 00000000 0001`), COSTLY],
    ['a type that is none of multicast DNS', hex(`${record} 0006 0001 00000000 0000`), COSTLY],
    ['the name in a PTR record', hex(`${record} 000c 0001 00000000 0001 00`), OK],
    ['no name in a PTR record', hex(`${record} 000c 0001 00000000 0001 05`), COSTLY],
    ['a long NSEC record', hex(`${record} 002f 0001 00000000 0201 ${'00'.repeat(513)}`), COSTLY],
    ['pointers to pointers, eight', pointers(8), OK],
    ['pointers to pointers, nine', pointers(9), COSTLY],
    ['9000 bytes', header(0, [], 9000), OK],
    ['9001 bytes', header(0, [], 9001), TOO_LONG],
    ['opcode 5', header(0x2800, [], 12), OPCODE],
    ['one question that cannot be there', header(0, [1], 16), COUNTS],
    ['one question that is there', hex(`${question} 00 0010 0001`), OK],
    ['one record of each section in 44 bytes', header(0, [0, 1, 1, 1], 44), COUNTS],
    ['one record of type 0 of each section in 45 bytes', header(0, [0, 1, 1, 1], 45), COSTLY],
    ['64 questions', header(0, [64], 9000), OK],
    ['65 questions', header(0, [65], 9000), COUNTS],
    ['256 records of type 0', header(0, [0, 256], 9000), COSTLY],
    ['257 records in two sections', header(0, [0, 200, 0, 57], 9000), COUNTS],
    ['as many of all as can be written', header(0, [65535, 65535, 65535, 65535], 9000), COUNTS],
  ] as const) {
    test(`${what}: verdict ${verdict}`, () => assert.equal(guardMulticast(bytes), verdict));
  }

  test('what it refuses is counted and neither asked about nor handed on', () => {
    const asked: Buffer[] = [];
    const { network, socket } = open(office(), null, (bytes) => asked.push(bytes) > 1);
    const heard: Buffer[] = [];
    socket.on('message', (bytes) => heard.push(bytes));
    for (const bytes of [
      Buffer.alloc(5),
      Buffer.alloc(9001),
      header(0x2800, [], 12),
      header(0, [9], 12),
    ]) {
      network.receive(bytes, '10.0.0.9');
    }
    assert.deepEqual([asked.length, heard.length], [0, 0]);
    network.receive(QUESTION, '10.0.0.9');
    network.receive(QUESTION, 'fe80::9%eth0');
    assert.deepEqual([asked.length, heard.length], [2, 1]);
    const { received, dropTooShort, dropTooLong, dropOpcode, dropCounts } = socket.counts;
    assert.deepEqual(
      [received, dropTooShort, dropTooLong, dropOpcode, dropCounts, socket.counts.dropNotAdmitted],
      [6, 1, 1, 1, 1, 1],
    );
  });
});

describe('sending', () => {
  test('a question leaves on every interface, IPv4 and IPv6, with TTL 255', () => {
    const { network, socket } = open(office());
    assert.deepEqual(send(socket, ALL_GROUPS), [null]);
    assert.deepEqual(sentBy(network), [
      '224.0.0.251 5353 10.0.0.1',
      '224.0.0.251 5353 192.168.7.1',
      'ff02::fb%eth0 5353',
      'ff02::fb%eth1 5353',
    ]);
    for (const { settings } of network.sockets) {
      const buffer = 'receive buffer 1048576';
      assert.deepEqual(settings, ['multicast ttl 255', 'ttl 255', 'loopback true', buffer]);
    }
    assert.equal(socket.counts.sent, 4);
  });

  test('both sockets share port 5353 with other programs', () => {
    const { network } = open(office());
    const [four, six] = network.sockets;
    assert.deepEqual(four.bound, { address: '0.0.0.0', port: 5353, exclusive: true });
    assert.deepEqual(six.bound, { address: '::', port: 5353, exclusive: true });
    assert.deepEqual([four.options.reuseAddr, six.options.reuseAddr], [true, true]);
    assert.equal(six.options.ipv6Only, true);
  });

  test('loopback is joined, and sent on only when there is nothing else', () => {
    const network = new FakeNetwork();
    network.up('lo', '127.0.0.1/8', '::1/128');
    const { socket, clock, joined } = open(network);
    send(socket, ALL_GROUPS);
    assert.deepEqual(sentBy(network), ['224.0.0.251 5353 127.0.0.1']);
    network.up('eth0', '10.0.0.1/24');
    clock.advance(5000);
    send(socket, ALL_GROUPS);
    assert.deepEqual(sentBy(network), ['224.0.0.251 5353 10.0.0.1']);
    assert.deepEqual(joined, ['lo 4', 'eth0 4']);
  });

  test('an answer leaves by one family, and on one interface when it is named', () => {
    const { network, socket } = open(office());
    send(socket, '224.0.0.251');
    assert.deepEqual(sentBy(network), [
      '224.0.0.251 5353 10.0.0.1',
      '224.0.0.251 5353 192.168.7.1',
    ]);
    send(socket, '224.0.0.251%eth1');
    send(socket, 'ff02::fb%eth0');
    assert.deepEqual(sentBy(network), ['224.0.0.251 5353 192.168.7.1', 'ff02::fb%eth0 5353']);
  });

  test('what goes to one host leaves once', () => {
    const { network, socket } = open(office());
    send(socket, '10.0.0.9', 4711);
    send(socket, 'fe80::9%eth1', 4712);
    assert.deepEqual(
      network.sockets.map(({ sent }) => sent.map(({ address, port }) => `${address} ${port}`)),
      [['10.0.0.9 4711'], ['fe80::9%eth1 4712']],
    );
  });

  test('a full buffer: nothing more leaves, or it would by the wrong interface', () => {
    const { network, socket } = open(office());
    network.four.queued = 1;
    assert.deepEqual(send(socket, ALL_GROUPS), [null]);
    assert.deepEqual(sentBy(network), ['ff02::fb%eth0 5353', 'ff02::fb%eth1 5353']);
    assert.equal(socket.counts.sendFull, 2);
    assert.match(send(socket, '224.0.0.251')[0]?.message ?? '', /busy/);
  });

  test('without any interface the question fails, the socket does not', () => {
    const { network, socket, errors } = open(new FakeNetwork());
    assert.match(send(socket, ALL_GROUPS)[0]?.message ?? '', /no network interface/);
    assert.deepEqual([sentBy(network), errors], [[], []]);
  });

  test('what is sent before the sockets are open waits for them, within bounds', () => {
    const network = office();
    network.holdsBind = true;
    const { socket, errors } = open(network);
    const done = Array.from({ length: 65 }, () => send(socket, '10.0.0.9'));
    assert.match(done[64][0]?.message ?? '', /too many/);
    network.six.emit('listening');
    assert.equal(network.four.sent.length, 0);
    network.four.emit('listening');
    assert.equal(network.four.sent.length, 64);
    assert.deepEqual(done[0], [null]);
    assert.deepEqual(errors, []);
  });

  test('closing answers what waits, stops looking and closes both sockets', () => {
    const network = office();
    network.holdsBind = true;
    const { socket, clock } = open(network);
    const waiting = send(socket, ALL_GROUPS);
    let isClosed = false;
    socket.close(() => {
      isClosed = true;
    });
    assert.match(waiting[0]?.message ?? '', /closed/);
    assert.match(send(socket, ALL_GROUPS)[0]?.message ?? '', /closed/);
    assert.deepEqual(
      [isClosed, clock.timers, ...network.sockets.map((one) => one.isClosed)],
      [true, 0, true, true],
    );
    network.four.emit('listening');
    network.receive(QUESTION, '10.0.0.9');
    assert.equal(socket.counts.received, 0);
  });
});

describe('interfaces that come and go', () => {
  const memberships = (network: FakeNetwork): string[] =>
    network.sockets.flatMap((socket) => [...socket.memberships]);

  test('a new one is joined within 5 s, one that is gone is left, and joined when back', () => {
    const network = office();
    const { clock, joined } = open(network);
    assert.deepEqual(joined, ['lo 4', 'eth0 4', 'eth1 4', 'eth0 6', 'eth1 6']);
    joined.length = 0;
    network.down('eth0');
    clock.advance(5000);
    assert.deepEqual(memberships(network), [
      '224.0.0.251 127.0.0.1',
      '224.0.0.251 192.168.7.1',
      'ff02::fb ::%eth1',
    ]);
    network.up('eth0', '10.0.0.1/24', 'fe80::1/64');
    network.up('wlan0', '172.16.0.5/12');
    clock.advance(5000);
    assert.deepEqual(joined, ['eth0 4', 'wlan0 4', 'eth0 6']);
    clock.advance(60_000);
    assert.equal(joined.length, 3, 'joined once');
  });

  test('another address on the same interface: left by the old one, joined by the new', () => {
    const network = office();
    const { clock, socket } = open(network);
    network.up('eth0', '10.9.9.9/24', 'fe80::1/64');
    clock.advance(5000);
    assert.ok(memberships(network).includes('224.0.0.251 10.9.9.9'));
    assert.ok(!memberships(network).includes('224.0.0.251 10.0.0.1'));
    send(socket, '224.0.0.251%eth0');
    assert.deepEqual(sentBy(network), ['224.0.0.251 5353 10.9.9.9']);
  });

  test('a membership lost behind our back is taken again', () => {
    const network = office();
    const { clock, joined } = open(network);
    joined.length = 0;
    network.four.memberships.delete('224.0.0.251 10.0.0.1');
    clock.advance(5000);
    assert.deepEqual(joined, ['eth0 4']);
  });

  test('a question looks at the interfaces first, at most once a second', () => {
    const network = new FakeNetwork();
    const { clock, socket } = open(network);
    network.up('eth0', '10.0.0.1/24');
    clock.advance(999);
    send(socket, ALL_GROUPS);
    assert.deepEqual(sentBy(network), []);
    clock.advance(1);
    send(socket, ALL_GROUPS);
    assert.deepEqual(sentBy(network), ['224.0.0.251 5353 10.0.0.1']);
  });

  test('sending on an interface that has gone: an error when all have, and a fresh look', () => {
    const network = new FakeNetwork();
    network.up('eth0', '10.0.0.1/24');
    const { clock, socket } = open(network);
    network.down('eth0');
    assert.equal((send(socket, '224.0.0.251')[0] as NodeJS.ErrnoException).code, 'EADDRNOTAVAIL');
    clock.advance(1000);
    send(socket, '224.0.0.251');
    assert.deepEqual(memberships(network), []);
    assert.match(send(socket, '224.0.0.251')[0]?.message ?? '', /no network interface/);
    assert.equal(socket.counts.sendErrors, 2);
  });

  test('one that cannot be joined is tried again at each look', () => {
    const network = office();
    const { clock, socket, joined } = open(network, ['eth9']);
    assert.deepEqual(joined, []);
    network.up('eth9', '10.5.0.1/24');
    const has = network.has.bind(network);
    network.has = () => false;
    clock.advance(5000);
    assert.deepEqual([joined, socket.counts.joinErrors], [[], 1]);
    network.has = has;
    clock.advance(5000);
    assert.deepEqual(joined, ['eth9 4']);
  });

  test('a system that does not tell its interfaces has none', () => {
    const network = office();
    Object.defineProperty(network, 'list', {
      value: () => {
        throw failure('EACCES');
      },
    });
    const { socket, errors } = open(network);
    assert.deepEqual([socket.interfaces, errors], [[], []]);
  });
});

describe('opening', () => {
  for (const code of ['EADDRINUSE', 'EACCES']) {
    test(`${code} for IPv4 is an error of the socket`, () => {
      const network = office();
      network.bindErrors.set(4, code);
      const { errors, socket } = open(network);
      assert.deepEqual(
        errors.map((error) => (error as NodeJS.ErrnoException).code),
        [code],
      );
      assert.equal(network.four.isClosed, true);
      send(socket, ALL_GROUPS);
      assert.deepEqual(sentBy(network), ['ff02::fb%eth0 5353', 'ff02::fb%eth1 5353']);
      assert.match(send(socket, '10.0.0.9')[0]?.message ?? '', /not open/);
    });
  }

  test('a machine without IPv6 is served by IPv4, without an error', () => {
    const network = office();
    network.bindErrors.set(6, 'EAFNOSUPPORT');
    const { errors, socket } = open(network);
    assert.deepEqual(send(socket, ALL_GROUPS), [null]);
    assert.deepEqual([sentBy(network).length, errors], [2, []]);
    assert.equal(socket.counts.bindErrors, 1);
  });

  test('errors while open are counted', () => {
    const { network, socket, errors } = open(office());
    network.four.emit('error', failure('ECONNREFUSED'));
    assert.deepEqual([socket.counts.socketErrors, errors], [1, []]);
  });
});

describe('choice of interfaces', () => {
  const links = (...chosen: string[]): string[] =>
    chooseLinks(readInterfaces(office().list), chosen).map(({ local }) => local);

  test('by name: both families', () => {
    assert.deepEqual(links('eth1'), ['192.168.7.1', '::%eth1']);
  });
  test('by address: the family of that', () => {
    assert.deepEqual(links('10.0.0.1'), ['10.0.0.1']);
    assert.deepEqual(links('FE80:0::2'), ['::%eth1']);
    assert.deepEqual(links('2001:db8::1'), ['::%eth0']);
  });
  test('several, and none that is not there', () => {
    assert.deepEqual(links('eth0', '192.168.7.1', 'eth7'), ['10.0.0.1', '::%eth0', '192.168.7.1']);
  });
  test('loopback, chosen, is sent on', () => {
    const [lo] = chooseLinks(readInterfaces(office().list), ['lo']);
    assert.deepEqual([lo.local, lo.isSpare], ['127.0.0.1', false]);
  });

  for (const right of [
    'eth0',
    'vEthernet (WSL)',
    'eth0:1',
    '10.0.0.1',
    'fe80::1%eth0',
    'docker_gw',
  ]) {
    test(`${right} may be an interface`, () => assert.equal(interfaceProblem(right), null));
  }
  for (const wrong of ['', '10.0.0.300', '1.2.3', 'fe80:::1', 'a/b', 'x\n']) {
    test(`${JSON.stringify(wrong)} is neither a name nor an address`, () =>
      assert.match(interfaceProblem(wrong) ?? '', /expected the name of an interface \(eth0\)/));
  }
});

describe('who is on the link', () => {
  const faces = readInterfaces(office().list);

  test('the interface of an address: by its scope, or the longest prefix', () => {
    assert.equal(interfaceOf(faces, '10.0.0.77')?.name, 'eth0');
    assert.equal(interfaceOf(faces, '192.168.200.1')?.name, 'eth1');
    assert.equal(interfaceOf(faces, 'fe80::77%eth1')?.name, 'eth1');
    assert.equal(interfaceOf(faces, 'fe80::77%3')?.name, 'eth1');
    assert.equal(interfaceOf(faces, '2001:db8::77')?.name, 'eth0');
    assert.equal(interfaceOf(faces, '127.0.0.1')?.name, 'lo');
    for (const other of ['10.0.1.1', '8.8.8.8', '2001:db8:1::1', 'fe80::77%eth9', 'nonsense']) {
      assert.equal(interfaceOf(faces, other), null, other);
    }
  });
  test('link-local addresses are always on the link', () => {
    for (const near of ['169.254.3.4', 'fe80::5', 'FE80::5%eth9', '10.0.0.2']) {
      assert.ok(isOnLink(faces, near), near);
    }
    for (const far of ['10.0.1.1', '8.8.8.8', '2001:db8:1::1', 'fec0::1']) {
      assert.ok(!isOnLink(faces, far), far);
    }
  });
  test('own addresses, whatever their spelling', () => {
    for (const own of ['10.0.0.1', 'fe80::1%eth0', '2001:DB8:0::1', '::ffff:10.0.0.1']) {
      assert.ok(isOwnAddress(faces, own), own);
    }
    assert.ok(!isOwnAddress(faces, '10.0.0.2') && !isOwnAddress(faces, 'x'));
  });
});
