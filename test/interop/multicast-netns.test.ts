/**
 * Multicast DNS on a wire between two namespaces: npm dns-discovery 6.2.3 and one of ours on the
 * left, one of ours on the right.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import { DIGS } from '../helpers/dig.ts';
import { connect, Namespace, type NamespacePeer, noNamespaces } from '../helpers/netns.ts';

const LEFT4 = '10.77.0.1';
const RIGHT4 = '10.77.0.2';
const ID64 = '0123456789abcdef'.repeat(4);
const options = { skip: noNamespaces, timeout: 60_000 };
/** Sends a datagram from UDP port 0 to port 5353 of an address, which takes a raw socket. */
const FROM_PORT_0 = `import socket, struct, sys
question = b''.join(bytes([len(l)]) + l for l in sys.argv[2].encode().split(b'.')) + b'\\0'
message = bytes([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + question + bytes([0, 16, 0, 1])
datagram = struct.pack('!HHHH', 0, 5353, 8 + len(message), 0) + message
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
raw.sendto(datagram, (sys.argv[1], 0))`;
const noPython =
  spawnSync('python3', ['--version']).status !== 0 &&
  'needs python3 (without it the addon is not built either)';

interface Lan {
  readonly left: Namespace;
  readonly right: Namespace;
  /** On the left. */
  readonly original: NamespacePeer;
  readonly neighbour: NamespacePeer;
  /** On the right. */
  readonly ours: NamespacePeer;
}

/** Two machines and a wire between them, without IPv4. */
async function makeLan(t: TestContext): Promise<{ left: Namespace; right: Namespace }> {
  const [left, right] = await Promise.all([Namespace.make(t), Namespace.make(t)]);
  connect(left, right, 'wire0');
  return { left, right };
}

/** Both sides with IPv4 and IPv6, and the three processes. */
async function start(t: TestContext): Promise<Lan> {
  const { left, right } = await makeLan(t);
  left.run(`ip address add ${LEFT4}/24 dev wire0; ip route add default dev wire0`);
  right.run(`ip address add ${RIGHT4}/24 dev wire0; ip route add default dev wire0`);
  const [original, neighbour, ours] = await Promise.all([
    left.peer(t, 'original'),
    left.peer(t, 'ours'),
    right.peer(t, 'ours'),
  ]);
  return { left, right, original, neighbour, ours };
}

test('ours finds what the original (dns-discovery 6.2.3) announces', options, async (t) => {
  const { original, ours } = await start(t);
  original.announce('theirs', 4001);
  await ours.finds('theirs', new RegExp(`^peer theirs ${LEFT4} 4001$`));
});

test('the original (dns-discovery 6.2.3) finds what ours announces', options, async (t) => {
  const { original, ours } = await start(t);
  ours.announce('ours', 4002);
  await original.finds('ours', new RegExp(`^peer ours ${RIGHT4} 4002$`));
});

test('an announce is heard at once by all who listen, without a lookup', options, async (t) => {
  const { original, neighbour, ours } = await start(t);
  // Both ways once, so that everybody is known to be there.
  ours.announce('first', 1);
  await original.finds('first', /^peer first /);
  await neighbour.finds('first', /^peer first /);
  ours.announce('second', 4003);
  await Promise.all([
    original.line(new RegExp(`^peer second ${RIGHT4} 4003$`)),
    neighbour.line(new RegExp(`^peer second ${RIGHT4} 4003$`)),
  ]);
  assert.ok(!ours.lines.some((line) => line.startsWith('peer second')), 'itself is no peer');
});

test('three processes announce one name: each finds the two others', options, async (t) => {
  const { original, neighbour, ours } = await start(t);
  original.announce('shared', 5001);
  neighbour.announce('shared', 5002);
  ours.announce('shared', 5003);
  for (const [peer, others] of [
    [original, [5002, 5003]],
    [neighbour, [5001, 5003]],
    [ours, [5001, 5002]],
  ] as const) {
    for (const port of others) await peer.finds('shared', new RegExp(`^peer shared .* ${port}$`));
  }
});

test('two of ours find each other over IPv6 alone', options, async (t) => {
  const { left, right } = await makeLan(t);
  const [one, two] = await Promise.all([left.peer(t, 'ours'), right.peer(t, 'ours')]);
  one.announce('six', 6001);
  two.announce('six', 6002);
  await two.finds('six', /^peer six fe80:[\da-f:]+%wire0 6001$/);
  await one.finds('six', /^peer six fe80:[\da-f:]+%wire0 6002$/);
});

test('a 32-byte id as 64 hex characters, one label of 64 bytes', options, async (t) => {
  const { neighbour, ours } = await start(t);
  neighbour.announce(ID64, 6401);
  await ours.finds(ID64, new RegExp(`^peer ${ID64} ${LEFT4} 6401$`));
});

test('the interface goes down and comes back, with another address', options, async (t) => {
  const { right, original, ours } = await start(t);
  ours.announce('back', 7001);
  await original.finds('back', new RegExp(`^peer back ${RIGHT4} 7001$`));
  right.run('ip link set wire0 down');
  right.run('ip address flush dev wire0; ip address add 10.77.0.3/24 dev wire0');
  right.run('ip link set wire0 up; ip route add default dev wire0');
  await original.finds('back', /^peer back 10\.77\.0\.3 7001$/);
  original.announce('there', 7002);
  await ours.finds('there', new RegExp(`^peer there ${LEFT4} 7002$`));
});

test('the interface is taken away and a new one put in its place', options, async (t) => {
  const { left, right, neighbour, ours } = await start(t);
  ours.announce('new', 8001);
  await neighbour.finds('new', new RegExp(`^peer new ${RIGHT4} 8001$`));
  right.run('ip link delete wire0');
  left.run(`ip link add wire0 type veth peer name wire0 netns ${right.pid}`);
  left.run(`ip address add ${LEFT4}/24 dev wire0; ip link set wire0 up`);
  right.run(`ip address add ${RIGHT4}/24 dev wire0; ip link set wire0 up`);
  await neighbour.finds('new', new RegExp(`^peer new ${RIGHT4} 8001$`));
});

test(
  'without any interface but loopback nothing fails; it works once there is one',
  options,
  async (t) => {
    const { left, right } = await makeLan(t);
    for (const side of [left, right]) side.run('ip link set wire0 down');
    const [one, two] = await Promise.all([left.peer(t, 'ours'), right.peer(t, 'ours')]);
    two.announce('late', 9001);
    one.lookup('late');
    left.run(`ip address add ${LEFT4}/24 dev wire0; ip link set wire0 up`);
    right.run(`ip address add ${RIGHT4}/24 dev wire0; ip link set wire0 up`);
    await one.finds('late', new RegExp(`^peer late ${RIGHT4} 9001$`));
    assert.ok(![...one.lines, ...two.lines].some((line) => line.startsWith('error')));
  },
);

test('a machine on two networks asks and answers on both', options, async (t) => {
  const { left, right: middle } = await makeLan(t);
  const right = await Namespace.make(t);
  connect(middle, right, 'wire1');
  left.run(`ip address add ${LEFT4}/24 dev wire0; ip route add default dev wire0`);
  middle.run(`ip address add ${RIGHT4}/24 dev wire0; ip address add 10.78.0.1/24 dev wire1`);
  right.run('ip address add 10.78.0.2/24 dev wire1; ip route add default dev wire1');
  const [one, two, ours] = await Promise.all([
    left.peer(t, 'original'),
    right.peer(t, 'original'),
    middle.peer(t, 'ours'),
  ]);
  ours.announce('both', 3001);
  await one.finds('both', new RegExp(`^peer both ${RIGHT4} 3001$`));
  await two.finds('both', /^peer both 10\.78\.0\.1 3001$/);
  one.announce('left', 3002);
  two.announce('right', 3003);
  await ours.finds('left', new RegExp(`^peer left ${LEFT4} 3002$`));
  await ours.finds('right', /^peer right 10\.78\.0\.2 3003$/);
});

test('interfaces chosen by name: the others are not used', options, async (t) => {
  const { left, right: middle } = await makeLan(t);
  const right = await Namespace.make(t);
  connect(middle, right, 'wire1');
  const [one, two, ours] = await Promise.all([
    left.peer(t, 'ours'),
    right.peer(t, 'ours'),
    middle.peer(t, 'ours', { interfaces: 'wire1' }),
  ]);
  ours.announce('chosen', 2001);
  one.lookup('chosen');
  await two.finds('chosen', /^peer chosen fe80:.*%wire1 2001$/);
  one.lookup('chosen');
  two.announce('back', 2002);
  await ours.finds('back', /^peer back fe80:.*%wire1 2002$/);
  assert.deepEqual(one.lines.slice(1), []);
});

test('dig asks by unicast and is answered: SRV, A and TXT', {
  ...options,
  skip: noNamespaces || DIGS[0].skip,
}, async (t) => {
  const { left, original, ours } = await start(t);
  ours.announce('dug', 1234);
  await original.finds('dug', /^peer dug /);
  const dig = (type: string): string =>
    left.run(`dig +short +noedns @${RIGHT4} -p 5353 dug.dns-discovery.local ${type}`).trim();
  assert.equal(dig('SRV'), `0 0 1234 ${RIGHT4}.`);
  assert.equal(dig('A'), RIGHT4);
  assert.match(dig('TXT'), /^"token=.{44}" "peers=AAAAAATS"$/);
});

test('on a machine with loopback only, processes find each other', options, async (t) => {
  const machine = await Namespace.make(t);
  const [original, one, two] = await Promise.all([
    machine.peer(t, 'original'),
    machine.peer(t, 'ours'),
    machine.peer(t, 'ours'),
  ]);
  original.announce('alone', 1001);
  one.announce('alone', 1002);
  await two.finds('alone', /^peer alone 127\.0\.0\.1 1001$/);
  await two.finds('alone', /^peer alone 127\.0\.0\.1 1002$/);
  await original.finds('alone', /^peer alone 127\.0\.0\.1 1002$/);
});

test('a question from UDP port 0 does not end the process', {
  ...options,
  skip: noNamespaces || noPython,
}, async (t) => {
  const { left, original, ours } = await start(t);
  ours.announce('victim', 1001);
  await original.finds('victim', /^peer victim /);
  for (let i = 0; i < 3; i++) {
    left.run(`python3 -c "${FROM_PORT_0}" ${RIGHT4} victim.dns-discovery.local`);
  }
  await original.finds('victim', new RegExp(`^peer victim ${RIGHT4} 1001$`));
  await original.finds('victim', new RegExp(`^peer victim ${RIGHT4} 1001$`));
  assert.deepEqual(
    ours.lines.filter((line) => /^(ended|error)/.test(line)),
    [],
  );
});

test('a device replaced time and again with the same address: memberships do not run out', {
  ...options,
  timeout: 180_000,
}, async (t) => {
  const { left, right, neighbour, ours } = await start(t);
  const limit = '/proc/sys/net/ipv4/igmp_max_memberships';
  right.run(`echo 4 2>/dev/null >${limit} || true`);
  const most = Number(right.run(`cat ${limit}`));
  for (let round = 0; round < most + 2; round++) {
    const name = `round${round}`;
    ours.announce(name, 1000 + round);
    await neighbour.finds(name, new RegExp(`^peer ${name} ${RIGHT4} ${1000 + round}$`));
    right.run('ip link delete wire0');
    left.run(`ip link add wire0 type veth peer name wire0 netns ${right.pid}`);
    left.run(`ip address add ${LEFT4}/24 dev wire0; ip link set wire0 up`);
    right.run(`ip address add ${RIGHT4}/24 dev wire0; ip link set wire0 up`);
  }
});

test('interfaces chosen: who asks by another one, by unicast, is not answered', {
  ...options,
  skip: noNamespaces || DIGS[0].skip,
}, async (t) => {
  const { left, right: middle } = await makeLan(t);
  const right = await Namespace.make(t);
  connect(middle, right, 'wire1');
  left.run(`ip address add ${LEFT4}/24 dev wire0`);
  middle.run(`ip address add ${RIGHT4}/24 dev wire0; ip address add 10.78.0.1/24 dev wire1`);
  right.run('ip address add 10.78.0.2/24 dev wire1');
  const ours = await middle.peer(t, 'ours', { interfaces: 'wire1' });
  ours.announce('chosen', 1234);
  const dig = (from: Namespace, to: string): string =>
    from.run(
      `dig +short +noedns +tries=1 +time=1 @${to} -p 5353 chosen.dns-discovery.local SRV || true`,
    );
  assert.equal(dig(right, '10.78.0.1').trim(), '0 0 1234 10.78.0.1.');
  assert.doesNotMatch(dig(left, RIGHT4), /1234/);
});
