// The original: npm dht-rpc as a bootstrap node with a store of its own behind hyperdht's numbers
// of commands: announces are kept unchecked, the last of a target is what a lookup finds. To
// `nodes` on standard input it answers how many its table has.
import dgram from 'node:dgram';
import { createInterface } from 'node:readline';
import DHT from 'dht-rpc';

const LOOKUP = 3;
const ANNOUNCE = 4;
const IMMUTABLE_PUT = 8;
const IMMUTABLE_GET = 9;
const MAX_VALUES = 32_768;

const values = new Map();

function put(request) {
  if (request.token === null || request.value === null) return;
  const key = request.target.toString('hex');
  if (values.size >= MAX_VALUES) values.delete(values.keys().next().value);
  // A copy, for the value is a view of the datagram.
  values.set(key, Buffer.from(request.value));
  request.reply(null);
}

function onrequest(request) {
  if (request.target === null) return request.error(1);
  if (request.command === ANNOUNCE || request.command === IMMUTABLE_PUT) return put(request);
  if (request.command !== LOOKUP && request.command !== IMMUTABLE_GET) return request.error(1);
  return request.reply(values.get(request.target.toString('hex')) ?? null);
}

// A bootstrap node needs its port beforehand.
const probe = dgram.createSocket('udp4');
probe.bind(0, '127.0.0.1', () => {
  const { port } = probe.address();
  probe.close(async () => {
    const node = DHT.bootstrapper(port, '127.0.0.1');
    node.on('request', onrequest);
    await node.fullyBootstrapped();
    createInterface({ input: process.stdin }).on('line', () => {
      process.stdout.write(`${node.toArray().length}\n`);
    });
    process.stdout.write(`port=${port}\n`);
  });
});
