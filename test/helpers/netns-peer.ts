/**
 * A peer on multicast DNS only, driven over its input: `node netns-peer.ts original|ours OPTIONS`.
 * Reads `announce NAME PORT` and `lookup NAME`; writes `ready`, `peer NAME HOST PORT` and
 * `error TEXT`.
 */
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { discovery } from '../../server/discovery/discovery.ts';

interface Peer {
  readonly host: string;
  readonly port: number;
}

/** What both have. */
interface Driven {
  on(event: 'peer', listener: (name: string, peer: Peer) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  announce(name: string, port: number, done: () => void): unknown;
  lookup(name: string, done: () => void): unknown;
}

const [kind, json = '{}'] = process.argv.slice(2);
const options = JSON.parse(json) as object;
const original = createRequire(import.meta.url)('dns-discovery') as (options: object) => Driven;
const disc: Driven = kind === 'original' ? original(options) : discovery(options);

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

disc.on('peer', (name, { host, port }) => say(`peer ${name} ${host} ${port}`));
disc.on('error', (error) => say(`error ${error.message}`));
const input = createInterface({ input: process.stdin });
input.on('line', (line) => {
  const [command, name, port] = line.split(' ');
  if (command === 'announce') disc.announce(name, Number(port), () => undefined);
  if (command === 'lookup') disc.lookup(name, () => undefined);
});
// Whoever drives it is gone.
input.on('close', () => process.exit());
say('ready');
