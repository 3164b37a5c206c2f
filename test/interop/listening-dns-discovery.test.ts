/**
 * npm dns-discovery 6.2.3 as a client of a program that listens: what the program hears of it and
 * what the client gets to see of the program's own announcements.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../server/clock.ts';
import { Listening, type ListeningConfig } from '../../server/discovery/listening/listening.ts';
import type { Peer, TrafficDetails, TrafficType } from '../../server/discovery/types.ts';
import type { UdpBackend } from '../../server/options/config.ts';
import { backends } from '../helpers/appliance.ts';
import { DOMAIN } from '../helpers/lane-harness.ts';
import { OriginalClient } from '../helpers/original-discovery.ts';
import { TcpAsker } from '../helpers/tcp-asker.ts';
import { until } from '../helpers/tcp-client.ts';
import { UdpAsker } from '../helpers/udp-asker.ts';

const TEST_TIMEOUT_MS = 30_000;

interface Told {
  readonly type: TrafficType;
  readonly details: TrafficDetails;
}

interface House {
  readonly listening: Listening;
  readonly port: number;
  readonly heard: string[];
  readonly told: Told[];
  /** Whether somebody listens to traffic. */
  isWanted: boolean;
  /** The original as a client of it. */
  client(): OriginalClient;
}

async function house(t: TestContext, config: Partial<ListeningConfig> = {}): Promise<House> {
  const heard: string[] = [];
  const told: Told[] = [];
  const built = { heard, told, isWanted: false };
  const listening = await Listening.start({
    ports: [0],
    isDefault: false,
    domain: DOMAIN,
    ttlSeconds: Number.POSITIVE_INFINITY,
    limit: 10_000,
    push: { ttlSeconds: 60, limit: 10_000 },
    records: undefined,
    values: undefined,
    udpBackend: 'auto',
    clock: systemClock,
    traffic: {
      isWanted: () => built.isWanted,
      tell: (type, details) => void told.push({ type, details }),
    },
    onPeer: (id: string, { host, port }: Peer) => void heard.push(`${id} ${host}:${port}`),
    notice: () => undefined,
    ...config,
  });
  t.after(() => listening.close());
  const port = listening.addresses.find(({ address }) => address === '0.0.0.0')?.port ?? 0;
  const client = () => new OriginalClient(t, { server: `127.0.0.1:${port}` });
  return Object.assign(built, { listening, port, client });
}

for (const { name: udpBackend, skip } of backends()) {
  describe(`dns-discovery 6.2.3 with a listening instance, ${udpBackend}`, { skip }, () => {
    const options = { timeout: TEST_TIMEOUT_MS };

    test('announce, lookup and unannounce are stored, and heard as they are made', options, (t) =>
      announces(t, udpBackend),
    );

    test('own announcements are found at the address that was asked', options, async (t) => {
      const { listening, client } = await house(t, { udpBackend });
      const id = 'ab'.repeat(32);
      listening.announce('own', 8080);
      listening.announce(id, 8081);
      const seeker = client();
      await seeker.lookup('own');
      await seeker.lookup(id);
      assert.deepEqual(seeker.peers, ['own 127.0.0.1:8080', `${id} 127.0.0.1:8081`]);
      listening.unannounce('own', 8080);
      const later = client();
      await later.lookup('own');
      assert.deepEqual(later.peers, []);
    });

    test('an announce is pushed to who looked up before', options, async (t) => {
      const { client } = await house(t, { udpBackend });
      const seeker = client();
      await seeker.lookup('pushed');
      const pushed = seeker.nextPeer();
      await client().announce('pushed', 9090);
      assert.equal(await pushed, 'pushed 127.0.0.1:9090');
    });

    test('own announcements in A and SRV are at an address of this machine', options, async (t) => {
      const { listening, port } = await house(t, { udpBackend });
      listening.announce('own', 8080);
      const asker = await UdpAsker.open(t, port);
      const a = await asker.ask({ name: `own.${DOMAIN}`, type: 'A' });
      const srv = await asker.ask({ name: `own.${DOMAIN}`, type: 'SRV' });
      const [address] = a.answers ?? [];
      const [service] = srv.answers ?? [];
      assert.ok(address?.type === 'A' && service?.type === 'SRV');
      assert.notEqual(address.data, '0.0.0.0');
      assert.deepEqual([service.data.target, service.data.port], [address.data, 8080]);
      // Without the addon nobody says which address a datagram came to.
      if (udpBackend === 'batch') assert.equal(address.data, '127.0.0.1');
    });
  });
}

async function announces(t: TestContext, udpBackend: UdpBackend): Promise<void> {
  const { listening, client, heard } = await house(t, { udpBackend });
  const announcer = client();
  await announcer.announce('app', 8080);
  assert.deepEqual(heard, ['app 127.0.0.1:8080']);
  await announcer.announce('app', 8080);
  assert.deepEqual(heard.length, 2, 'a renewal is heard too, as with the original');
  await announcer.announce('public', 1, { publicPort: 4242 });
  assert.equal(heard[2], 'public 127.0.0.1:4242');
  const seeker = client();
  await seeker.lookup('app');
  assert.deepEqual(seeker.peers, ['app 127.0.0.1:8080']);
  const host = '127.0.0.1';
  assert.deepEqual(listening.toJSON(), [
    { name: 'app', records: [{ port: 8080, host }] },
    { name: 'public', records: [{ port: 4242, host }] },
  ]);
  await announcer.unannounce('app', 8080);
  assert.deepEqual(listening.peers('app'), []);
  assert.equal(heard.length, 3);
}

describe('traffic of a listening instance', () => {
  const options = { timeout: TEST_TIMEOUT_MS };

  test('nothing is told while nobody listens to it', options, async (t) => {
    const { client, told } = await house(t);
    await client().announce('app', 8080);
    assert.deepEqual(told, []);
  });

  test('each query and its answer, decoded, with who sent it', options, async (t) => {
    const built = await house(t);
    built.isWanted = true;
    await built.client().announce('app', 8080);
    const types = built.told.map(({ type }) => type);
    // A probe and an announce.
    assert.deepEqual(types, ['in:query', 'out:response', 'in:query', 'out:response']);
    const peers = built.told.map(({ details }) => details.peer);
    assert.equal(peers[0]?.host, '127.0.0.1');
    for (const peer of peers) assert.deepEqual(peer, peers[0]);
    const [query, answer] = built.told.slice(2).map(({ details }) => messageOf(details));
    assert.equal(query.type, 'query');
    assert.equal(answer.type, 'response');
    assert.equal(query.id, answer.id);
    assert.equal(query.questions[0].name, `app.${DOMAIN}`);
    assert.ok(query.additionals[0].data.join().includes('announce=8080'));
    assert.ok(answer.answers[0].data.join().startsWith('token='));
  });

  test('what is told stays what it was when others have come since', options, async (t) => {
    const built = await house(t);
    built.isWanted = true;
    const asker = await UdpAsker.open(t, built.port);
    await asker.ask({ name: `first.${DOMAIN}` });
    for (let i = 0; i < 10; i++) await asker.ask({ name: `other${i}.${DOMAIN}` });
    assert.equal(messageOf(built.told[0].details).questions[0].name, `first.${DOMAIN}`);
  });

  test('by TCP too; pushes and their acknowledgements are not told', options, async (t) => {
    const built = await house(t);
    const seeker = built.client();
    await seeker.lookup('app');
    built.isWanted = true;
    const pushed = seeker.nextPeer();
    const asker = await TcpAsker.open(t, built.port);
    await asker.announceAll('app', [7070]);
    await pushed;
    await until(() => built.told.length >= 4, 'the traffic of a probe and an announce');
    const types = built.told.map(({ type }) => type);
    assert.deepEqual(types, ['in:query', 'out:response', 'in:query', 'out:response']);
    assert.equal(built.told[0].details.peer?.port, asker.localPort);
    assert.deepEqual(built.heard, ['app 127.0.0.1:7070']);
  });

  test('what is no message is told of to nobody', options, async (t) => {
    const built = await house(t);
    built.isWanted = true;
    const asker = await UdpAsker.open(t, built.port);
    asker.send(Buffer.from('no message'));
    asker.send(Buffer.alloc(12, 0xff));
    // A question whose name ends nowhere.
    const query = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 63, 1, 2, 3, 4, 5, 6];
    const answer = await asker.exchange(Uint8Array.from(query));
    assert.equal(answer.length, 12, 'a FORMERR');
    assert.deepEqual(
      built.told.map(({ type }) => type),
      ['out:response'],
    );
  });
});

describe('what a program does in its listeners', () => {
  test('closing the server in the middle of a batch ends nothing halfway', async (t) => {
    const closed: Promise<void>[] = [];
    let built: House | null = null;
    const onPeer = () => void (built !== null && closed.push(built.listening.close()));
    built = await house(t, { onPeer });
    const seeker = built.client();
    await seeker.announce('app', 8080);
    assert.equal(closed.length, 1);
    await closed[0];
  });

  test('announcing from the event of a peer is fine', async (t) => {
    let built: House | null = null;
    const onPeer = (id: string, { port }: Peer) => built?.listening.announce(id, port + 1);
    built = await house(t, { onPeer });
    await built.client().announce('app', 8080);
    const seeker = built.client();
    await seeker.lookup('app');
    assert.deepEqual([...seeker.seen('app')].sort(), ['app 127.0.0.1:8080', 'app 127.0.0.1:8081']);
  });
});

interface Message {
  readonly type: string;
  readonly id: number;
  readonly questions: readonly { readonly name: string }[];
  readonly answers: readonly { readonly data: readonly Buffer[] }[];
  readonly additionals: readonly { readonly data: readonly Buffer[] }[];
}

function messageOf({ message }: TrafficDetails): Message {
  return message as Message;
}
