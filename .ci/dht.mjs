// The DHT of the packed package: a node from its command line, and one in this process that joins
// it, announces (which has a signature checked on a thread of the other) and looks that up.
//
//   node dht.mjs COMMAND
//
// Run where the package is installed. Needs only Node.
import { spawn } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const home = pathToFileURL(`${process.cwd()}/node_modules/waypost/dist/`);
const { dhtApplianceConfigs, dhtNodesFrom } = await import(new URL('server/options/dht.js', home));
const { startAppliance } = await import(new URL('server/appliance.js', home));

const [command] = process.argv.slice(2);
const server = spawn(command, ['serve', '--dns', 'off', '--dht', '127.0.0.1:0']);
server.stderr.pipe(process.stderr);
try {
  const port = await listening();
  const flags = { bootstrap: `127.0.0.1:${port}`, host: '127.0.0.1' };
  const [config] = dhtApplianceConfigs(dhtNodesFrom(flags, {}), () => undefined);
  const node = await startAppliance(config);
  await node.dht.node.fullyBootstrapped();
  const target = createHash('sha256').update('smoke').digest();
  const pair = keyPair();
  await node.dht.records.announce(target, pair).finished();
  const found = [];
  for await (const { peers } of node.dht.records.lookup(target)) found.push(...peers);
  await node.close();
  const isFound = found.some(({ publicKey }) => Buffer.compare(publicKey, pair.publicKey) === 0);
  if (!isFound) throw new Error('what was announced is not found');
  process.stdout.write(`dht: announced and found, Node ${process.version}\n`);
} finally {
  server.kill('SIGTERM');
}

async function listening() {
  for await (const line of createInterface({ input: server.stdout })) {
    const match = /^dht 127\.0\.0\.1:(\d+) udp/.exec(line);
    if (match !== null) return Number(match[1]);
  }
  throw new Error('the node did not start');
}

/** As libsodium has them: the secret key is the seed and the public key. */
function keyPair() {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32);
  const key = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  return { publicKey: key, secretKey: Buffer.concat([seed, key]) };
}
