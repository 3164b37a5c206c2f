/**
 * The nodes of a network, for the tables of servers under test: `dht-crowd.ts COUNT PORT...`. Each
 * has a socket of its own (127.2.0.1 and up), greets each server at 127.0.0.1 once with its id, and
 * answers whatever it is asked as a node that knows nobody. Prints `ready` when all have greeted.
 */
import { createSocket, type Socket } from 'node:dgram';
import process from 'node:process';
import { writeNodeAddress } from '../../codecs/dht/address.ts';
import { FLAG_ID, HEAD_BYTES, ID_BYTES, INTERNAL } from '../../codecs/dht/constants.ts';
import { encodeRequest } from '../../codecs/dht/message.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import { writeReplyHead } from '../../codecs/dht/reply.ts';
import { RequestReader } from '../../codecs/dht/request.ts';

/** A server may verify no more strangers than so many a second. */
const GREETINGS_PER_SECOND = 50;
const SETTLE_MS = 1500;

interface Node {
  readonly socket: Socket;
  readonly id: Uint8Array;
}

const reader = new RequestReader();

function answer({ socket, id }: Node, bytes: Uint8Array, host: string, port: number): void {
  if (!reader.read(bytes, 0, bytes.length)) return;
  const reply = new Uint8Array(HEAD_BYTES + ID_BYTES);
  const to = writeReplyHead(reply, 0, FLAG_ID, reader.tid);
  reply.set(id, writeNodeAddress(reply, to, { host, port }));
  socket.send(reply, port, host);
}

function startNode(number: number): Promise<Node> {
  const host = `127.2.${number >> 8}.${number & 255}`;
  const socket = createSocket('udp4');
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(0, host, () => {
      const node = { socket, id: nodeId(host, socket.address().port) };
      socket.on('message', (bytes, from) => answer(node, bytes, from.address, from.port));
      resolve(node);
    });
  });
}

function greet({ socket, id }: Node, port: number): void {
  const to = { host: '127.0.0.1', port };
  const rest = { token: null, isInternal: true, command: INTERNAL.PING, target: null, value: null };
  socket.send(encodeRequest({ tid: 1, to, id, ...rest }), port, to.host);
}

const [count, ...ports] = process.argv.slice(2).map(Number);
const nodes = await Promise.all(Array.from({ length: count }, (_, i) => startNode(i + 1)));
let next = 0;
const timer = setInterval(() => {
  if (next < nodes.length) {
    for (const port of ports) greet(nodes[next], port);
    next++;
    return;
  }
  clearInterval(timer);
  setTimeout(() => process.stdout.write('ready\n'), SETTLE_MS);
}, 1000 / GREETINGS_PER_SECOND);
