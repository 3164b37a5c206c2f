import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Machine } from './machine.ts';
import type { NatKind } from './nat.ts';
import { CALM, type Conditions, Network } from './network.ts';
import { RECORD, Trace } from './trace.ts';
import { VirtualClock } from './virtual-clock.ts';

const [A, B, C] = [0x0101_0101, 0x0202_0202, 0x0303_0303];
const PORT = 4000;

interface Got {
  readonly text: string;
  readonly host: number;
  readonly port: number;
  readonly atMs: number;
}

class Bench {
  readonly clock = new VirtualClock();
  readonly trace = new Trace();
  readonly network: Network;

  constructor(conditions: Partial<Conditions> = {}, seed = 1) {
    this.network = new Network(this.clock, this.trace, seed, { ...CALM, ...conditions });
  }

  listen(address: number, kind: NatKind = 'open') {
    const got: Got[] = [];
    const machine = this.network.machine(address, kind);
    const socket = machine.open(PORT, (bytes, host, port) => {
      got.push({ text: Buffer.from(bytes).toString(), host, port, atMs: this.clock.elapsedMs });
    });
    const send = (text: string, to: number, port = PORT) =>
      socket.send(Buffer.from(text), to, port);
    return { got, machine, socket, send };
  }
}

const texts = (got: readonly Got[]) => got.map(({ text }) => text);

describe('the simulated network', () => {
  test('delivers a copy of a datagram, from its address and port, after a while', async () => {
    const bench = new Bench();
    const [a, b] = [bench.listen(A), bench.listen(B)];
    const bytes = Buffer.from('hello');
    a.socket.send(bytes, B, PORT);
    bytes.fill(0);
    await bench.clock.advance(1000);
    assert.equal(b.got.length, 1);
    const { text, host, port, atMs } = b.got[0];
    assert.deepEqual([text, host, port], ['hello', A, PORT]);
    assert.ok(atMs >= CALM.nearMs, `${atMs} ms`);
    assert.deepEqual(a.got, []);
  });

  test('loses and doubles the shares it was told to', async () => {
    const bench = new Bench({ loss: 0.1, duplication: 0.05 });
    const [a, b] = [bench.listen(A), bench.listen(B)];
    for (let i = 0; i < 10_000; i++) a.send('x', B);
    await bench.clock.advance(10_000);
    const { counts } = bench.trace;
    assert.ok(Math.abs(counts[RECORD.lost] - 1000) < 150, `${counts[RECORD.lost]} lost`);
    const doubled = counts[RECORD.duplicated];
    assert.ok(Math.abs(doubled - 450) < 100, `${doubled} doubled`);
    assert.equal(b.got.length, 10_000 - counts[RECORD.lost] + doubled);
  });

  test('lets later datagrams overtake', async () => {
    const bench = new Bench({ reordering: 0.2, heldMs: 100 });
    const [a, b] = [bench.listen(A), bench.listen(B)];
    for (let i = 0; i < 100; i++) {
      a.send(String(i), B);
      await bench.clock.advance(10);
    }
    await bench.clock.advance(1000);
    assert.equal(b.got.length, 100);
    const order = texts(b.got).map(Number);
    assert.notDeepEqual(
      order,
      order.toSorted((x, y) => x - y),
    );
  });

  test('delays by distance, and by jitter with its mean', async () => {
    const delays = async (jitterMs: number) => {
      const bench = new Bench({ jitterMs });
      const [a, b] = [bench.listen(A), bench.listen(B)];
      for (let i = 0; i < 5000; i++) a.send('x', B);
      await bench.clock.advance(10_000);
      return b.got.reduce((sum, { atMs }) => sum + atMs, 0) / 5000;
    };
    const difference = (await delays(40)) - (await delays(0));
    assert.ok(Math.abs(difference - 40) < 3, `${difference} ms`);
  });

  test('carries nothing across a partition, and everything when it has healed', async () => {
    const bench = new Bench();
    const [a, b, c] = [bench.listen(A), bench.listen(B), bench.listen(C)];
    bench.network.partition = (machine: Machine) => (machine.address === B ? 1 : 0);
    a.send('to b', B);
    a.send('to c', C);
    await bench.clock.advance(1000);
    bench.network.partition = null;
    a.send('again', B);
    await bench.clock.advance(1000);
    assert.deepEqual([texts(b.got), texts(c.got)], [['again'], ['to c']]);
    assert.equal(bench.trace.counts[RECORD.parted], 1);
  });

  test('neither sends from nor delivers to what is off, closed or not there', async () => {
    const bench = new Bench();
    const [a, b] = [bench.listen(A), bench.listen(B)];
    b.machine.isUp = false;
    a.send('off', B);
    b.send('from the off', A);
    a.send('nobody', C);
    await bench.clock.advance(1000);
    b.machine.isUp = true;
    b.machine.crash();
    b.send('from the closed', A);
    a.send('closed', B);
    await bench.clock.advance(1000);
    const again = b.machine.open(PORT, () => undefined);
    b.socket.close();
    assert.equal(b.machine.socketAt(PORT), again);
    assert.deepEqual([a.got, b.got], [[], []]);
  });

  test('gives a subnet what is sent to its free addresses, and sends from them', async () => {
    const bench = new Bench();
    const a = bench.listen(A);
    const taken = bench.listen(0x0909_0001);
    const got: string[] = [];
    const subnet = bench.network.subnet(0x0909, (bytes, host, port, to, toPort) => {
      got.push(`${Buffer.from(bytes)} ${host} ${port} ${to} ${toPort}`);
    });
    subnet.sendFrom(0x0909_1234, 77, A, PORT, Buffer.from('from inside'));
    a.send('to inside', 0x0909_4321, 99);
    a.send('to the taken one', 0x0909_0001);
    await bench.clock.advance(1000);
    assert.deepEqual(got, [`to inside ${A} ${PORT} ${0x0909_4321} 99`]);
    assert.deepEqual(texts(taken.got), ['to the taken one']);
    const [{ text, host, port }] = a.got;
    assert.deepEqual([text, host, port], ['from inside', 0x0909_1234, 77]);
  });

  test('gives a free port to a socket that asks for none, and refuses a taken one', () => {
    const bench = new Bench();
    const { machine } = bench.listen(A);
    const ports = [0, 0, 0].map((port) => machine.open(port, () => undefined).port);
    assert.equal(new Set(ports).size, 3);
    assert.throws(() => machine.open(PORT, () => undefined), /taken/);
    assert.throws(() => bench.network.machine(A), /taken/);
  });
});

describe('what stands before a machine', () => {
  const reached = async (kind: NatKind) => {
    const bench = new Bench();
    const [inner, friend, stranger] = [bench.listen(A, kind), bench.listen(B), bench.listen(C)];
    inner.send('hello', B);
    await bench.clock.advance(1000);
    const [{ port }] = friend.got;
    friend.send('friend', A, port);
    stranger.send('stranger', A, port);
    await bench.clock.advance(1000);
    inner.send('hello', C);
    await bench.clock.advance(1000);
    return { bench, inner, friend, stranger, port, other: stranger.got[0].port };
  };

  test('open: anybody gets in, by the port as it is', async () => {
    const { inner, port, other } = await reached('open');
    assert.deepEqual([port, other], [PORT, PORT]);
    assert.deepEqual(texts(inner.got).sort(), ['friend', 'stranger']);
  });

  test('firewalled: the port as it is, for those only who were written to', async () => {
    const { inner, port, other } = await reached('firewalled');
    assert.deepEqual([port, other], [PORT, PORT]);
    assert.deepEqual(texts(inner.got), ['friend']);
  });

  test('consistent: another port, the same to everybody', async () => {
    const { inner, port, other } = await reached('consistent');
    assert.notEqual(port, PORT);
    assert.equal(port, other);
    assert.deepEqual(texts(inner.got), ['friend']);
  });

  test('random: another port to everybody, and in by that one only', async () => {
    const { bench, inner, stranger, port, other } = await reached('random');
    assert.notEqual(port, other);
    assert.deepEqual(texts(inner.got), ['friend']);
    stranger.send('by the other port', A, port);
    stranger.send('by its own', A, other);
    await bench.clock.advance(1000);
    assert.deepEqual(texts(inner.got), ['friend', 'by its own']);
  });

  test('a way in closes after a minute without traffic', async () => {
    for (const kind of ['firewalled', 'consistent', 'random'] as const) {
      const { bench, inner, friend, port } = await reached(kind);
      await bench.clock.advance(50_000);
      friend.send('kept', A, port);
      await bench.clock.advance(50_000);
      friend.send('open still', A, port);
      await bench.clock.advance(61_000);
      friend.send('too late', A, port);
      await bench.clock.advance(1000);
      assert.deepEqual(texts(inner.got), ['friend', 'kept', 'open still'], kind);
    }
  });
});

describe('the trace', () => {
  const traceOf = async (seed: number, text = 'x') => {
    const bench = new Bench({ loss: 0.1, duplication: 0.1, reordering: 0.1, heldMs: 50 }, seed);
    const [a, b] = [bench.listen(A, 'random'), bench.listen(B)];
    for (let i = 0; i < 5000; i++) a.send(i === 4999 ? text : 'x', B);
    await bench.clock.advance(10_000);
    assert.ok(b.got.length > 0);
    return bench.trace;
  };

  test('is the same of two runs of one seed, and another for a bit or a seed', async () => {
    const [one, same] = [await traceOf(1), await traceOf(1)];
    assert.equal(one.digest, same.digest);
    assert.deepEqual(one.marks, same.marks);
    assert.notEqual(one.digest, (await traceOf(2)).digest);
    const bit = await traceOf(1, 'y');
    assert.notEqual(one.digest, bit.digest);
    assert.equal(one.marks[0], bit.marks[0], 'marks tell where they part');
  });

  test('is kept in words on request', () => {
    const trace = new Trace(true);
    trace.datagram(RECORD.sent, 1500, A, 1, B, 2, Uint8Array.of(255));
    trace.note(2000, 'noted');
    assert.deepEqual(
      trace.lines.map((line) => line.trim()),
      ['1.500 sent 1.1.1.1:1 > 2.2.2.2:2 ff', '2.000 note noted'],
    );
  });
});
