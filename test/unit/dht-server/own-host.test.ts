/** What a bootstrap node takes for its address, as its machine has interfaces. */
import assert from 'node:assert/strict';
import type { NetworkInterfaceInfo } from 'node:os';
import { describe, test } from 'node:test';
import { nodeId } from '../../../codecs/dht/node-id.ts';
import type { Collector } from '../../../server/collector.ts';
import { DhtHost } from '../../../server/dht/dht-host.ts';
import { reserveDht } from '../../../server/dht/dht-memory.ts';
import { guessHost, nodeOptions } from '../../../server/dht/own-host.ts';
import { buildHouse, mainCounters } from '../../../server/lanes/house.ts';
import { readInterfaces } from '../../../server/net/multicast/interfaces.ts';
import type { UdpSocket } from '../../../server/net/udp-socket.ts';
import type { DhtConfig } from '../../../server/options/config.ts';
import type { Pipeline } from '../../../server/pipeline.ts';
import { StillClock } from '../../helpers/dht-node-clock.ts';

const PORT = 49_737;
const CONFIG: DhtConfig = {
  at: { address: '0.0.0.0', port: PORT },
  isRequired: true,
  anyPort: false,
  bootstrap: [],
  host: null,
  isPrivate: false,
  verifiesInline: true,
  stores: { peers: 64, forwards: 64, refreshes: 64, mutables: 64, immutables: 64 },
};
const LOOPBACK = { lo: ['127.0.0.1'] };

type Faces = Readonly<Record<string, readonly string[]>>;

/** Interfaces by their names and addresses; lo is internal. */
function listed(faces: Faces): NodeJS.Dict<NetworkInterfaceInfo[]> {
  return Object.fromEntries(
    Object.entries(faces).map(([name, addresses]) => [
      name,
      addresses.map((address): NetworkInterfaceInfo => {
        const rest = { address, netmask: '', mac: '02:00:00:00:00:01', internal: name === 'lo' };
        return address.includes(':')
          ? { ...rest, family: 'IPv6', cidr: null, scopeid: 1 }
          : { ...rest, family: 'IPv4', cidr: `${address}/24` };
      }),
    ]),
  );
}

function guess(faces: Faces, isPrivate: boolean, present: string | null = null): string | null {
  return guessHost(
    readInterfaces(() => listed(faces)),
    isPrivate,
    present,
  );
}

describe('a guess by the interfaces', () => {
  test('skips what is internal or reserved, and in a public network what is private', () => {
    const faces = {
      lo: ['127.0.0.1', '51.1.1.1'],
      tun: ['198.18.0.1', '203.0.113.9'],
      eth0: ['fe80::1', '192.168.1.7', '51.2.2.2'],
    };
    assert.equal(guess(faces, false), '51.2.2.2');
    assert.equal(guess(faces, true), '192.168.1.7');
    assert.equal(guess({ lo: ['127.0.0.1'], tun: ['198.18.0.1'] }, true), null);
    assert.equal(guess({ eth0: ['10.0.0.1', '100.64.1.1', '169.254.1.1'] }, false), null);
  });

  test('in a private network prefers what was given to what a machine gave itself', () => {
    const faces = { usb0: ['169.254.9.9'], eth0: ['51.2.2.2'], eth1: ['10.1.1.1'] };
    assert.equal(guess(faces, true), '10.1.1.1');
    assert.equal(guess({ usb0: ['169.254.9.9'], eth0: ['51.2.2.2'] }, true), '51.2.2.2');
    assert.equal(guess({ usb0: ['169.254.9.9'] }, true), '169.254.9.9');
  });

  test('stays while its address is there', () => {
    const faces = { docker0: ['172.17.0.1'], eth0: ['192.168.1.7'] };
    assert.equal(guess(faces, true), '172.17.0.1');
    assert.equal(guess(faces, true, '192.168.1.7'), '192.168.1.7');
    assert.equal(guess(faces, true, '192.168.1.8'), '172.17.0.1');
  });

  test('is no word of the operator: only --dht-host and a bind address are', () => {
    const interfaces = readInterfaces(() => listed({ eth0: ['192.168.1.7'] }));
    const told = (config: Partial<DhtConfig>) => {
      const { host, guessedHost } = nodeOptions({ ...CONFIG, ...config }, interfaces);
      return [host, guessedHost];
    };
    assert.deepEqual(told({}), [null, null]);
    assert.deepEqual(told({ isPrivate: true }), [null, '192.168.1.7']);
    assert.deepEqual(told({ host: '51.2.2.2' }), ['51.2.2.2', null]);
    const at = { address: '10.0.0.1', port: PORT };
    assert.deepEqual(told({ at, isPrivate: true }), ['10.0.0.1', null]);
    assert.deepEqual(told({ bootstrap: ['51.3.3.3:1'] }), [null, undefined]);
    assert.deepEqual(nodeOptions({ ...CONFIG, isPrivate: true }, []).guessedHost, '127.0.0.1');
  });
});

/** A node on sockets that are played, on a machine whose interfaces may change. */
class Machine {
  readonly clock = new StillClock();
  readonly notices: string[] = [];
  readonly host: DhtHost;
  faces: Faces;

  constructor(faces: Faces, config: Partial<DhtConfig> = {}) {
    this.faces = faces;
    const whole = { ...CONFIG, ...config };
    const house = buildHouse(2, 1, 16, {});
    const socket = (receiver: number): UdpSocket =>
      ({ receiver, port: PORT, send: () => 0 }) as unknown as UdpSocket;
    this.host = new DhtHost({
      config: whole,
      memory: reserveDht(whole, 1),
      house,
      sockets: { server: socket(0), client: socket(1) },
      counters: mainCounters(house),
      clock: this.clock,
      notice: (line) => this.notices.push(line),
      list: () => listed(this.faces),
    });
    this.host.start({} as Pipeline, {} as Collector);
  }

  get id(): Uint8Array | null {
    return this.host.node.id;
  }
}

describe('a bootstrap node on a machine', () => {
  test('that is not in the network yet takes its address when it comes', async () => {
    const machine = new Machine(LOOPBACK, { isPrivate: true });
    await machine.clock.pass(4000, 1000);
    assert.deepEqual(machine.id, nodeId('127.0.0.1', PORT));
    machine.faces = { ...LOOPBACK, eth0: ['192.168.7.1'] };
    await machine.clock.pass(6000, 1000);
    assert.deepEqual(machine.id, nodeId('192.168.7.1', PORT));
    machine.faces = { ...LOOPBACK, br0: ['172.17.0.1'], eth0: ['192.168.7.1'] };
    await machine.clock.pass(6000, 1000);
    assert.deepEqual(machine.id, nodeId('192.168.7.1', PORT), 'one more is no other one');
    machine.faces = LOOPBACK;
    await machine.clock.pass(6000, 1000);
    assert.deepEqual(machine.id, nodeId('192.168.7.1', PORT), 'unplugged, it waits');
    machine.faces = { ...LOOPBACK, eth0: ['192.168.9.1'] };
    await machine.clock.pass(6000, 1000);
    assert.deepEqual(machine.id, nodeId('192.168.9.1', PORT));
    assert.equal(machine.notices.at(-1), `dht port ${PORT}: persistent, as 192.168.9.1:${PORT}`);
    await machine.host.close();
  });

  test('with private addresses only says what is missing, once, in a public network', async () => {
    const faces = { ...LOOPBACK, eth0: ['192.168.7.1'] };
    const machine = new Machine(faces);
    await machine.clock.pass(60_000, 1000);
    const hint = `dht port ${PORT}: no public address known yet: --dht-host IP, or --dht-private`;
    assert.deepEqual(machine.notices, [
      `${hint} for a LAN`,
      `dht port ${PORT}: ready, 0 nodes known`,
    ]);
    machine.faces = { ...faces, eth1: ['51.2.2.2'] };
    await machine.clock.pass(6000, 1000);
    assert.deepEqual(machine.id, nodeId('51.2.2.2', PORT));
    await machine.host.close();
    const others: [Faces, Partial<DhtConfig>][] = [
      [faces, { isPrivate: true }],
      [faces, { host: '51.2.2.2' }],
      [faces, { bootstrap: ['45.1.1.1:1'] }],
      [{ eth0: ['51.2.2.2'] }, {}],
    ];
    for (const [interfaces, config] of others) {
      const told = new Machine(interfaces, config);
      await told.clock.pass(2000, 1000);
      assert.ok(!told.notices.some((line) => line.includes('--dht-host')), `${told.notices}`);
      await told.host.close();
    }
  });
});
