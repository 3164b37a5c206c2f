// The original: npm hyperdht as a bootstrap node. On standard input it is asked for
//
//   nodes    how many its table has
//   verify   the microseconds of CPU that one ed25519 signature takes to verify, on this core
import dgram from 'node:dgram';
import { createInterface } from 'node:readline';
import HyperDHT from 'hyperdht';
import sodium from 'sodium-native';

const SIGNATURES = 512;
const ROUNDS = 8;

function signed() {
  const [publicKey, secretKey, message, signature] = [32, 64, 64, 64].map((n) => Buffer.alloc(n));
  sodium.crypto_sign_keypair(publicKey, secretKey);
  sodium.randombytes_buf(message);
  sodium.crypto_sign_detached(signature, message, secretKey);
  return { publicKey, message, signature };
}

function verifyUs() {
  const all = Array.from({ length: SIGNATURES }, signed);
  const before = process.cpuUsage();
  for (let i = 0; i < ROUNDS * SIGNATURES; i++) {
    const { publicKey, message, signature } = all[i % SIGNATURES];
    if (!sodium.crypto_sign_verify_detached(signature, message, publicKey))
      throw new Error('false');
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / (ROUNDS * SIGNATURES);
}

// A bootstrap node needs its port beforehand.
const probe = dgram.createSocket('udp4');
probe.bind(0, '127.0.0.1', () => {
  const { port } = probe.address();
  probe.close(async () => {
    const node = HyperDHT.bootstrapper(port, '127.0.0.1');
    await node.fullyBootstrapped();
    createInterface({ input: process.stdin }).on('line', (line) => {
      process.stdout.write(`${line === 'verify' ? verifyUs() : node.toArray().length}\n`);
    });
    process.stdout.write(`port=${port}\n`);
  });
});
