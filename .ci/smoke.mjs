// Starts a server by the command line given, asks it one question and stops it:
//
//   node smoke.mjs BACKEND COMMAND [ARGUMENT ...]
//
// The command must print `dns ADDRESS:PORT udp BACKEND` for an address of this machine, and a line
// `udp backend: BACKEND (why)`. Checked are these, the answer to a probe, and that SIGTERM ends it
// within two seconds, with 0 (unless npm stands in between: it ends as the signal does). Needs only
// Node.
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';

const START_MS = 30_000;
const STOP_MS = 2_000;
const ANSWER_MS = 5_000;

const [backend, command, ...args] = process.argv.slice(2);
// A group of its own: the signal must reach the server, whatever was put in between (npm, sh).
const server = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
const ended = new Promise((resolve) => {
  // `close`, not `exit`: everything that could print is gone, not just npm.
  server.on('close', (code, signal) => resolve({ code, signal }));
});

try {
  const { address, port } = await listening();
  const answer = await ask(address, port);
  if (!answer.includes('token=')) throw new Error(`no token in the answer to a probe: ${answer}`);
  process.stdout.write(`smoke: answered on ${backend}\n`);
  const result = await stop();
  if (result.code !== 0 && command !== 'npm') {
    throw new Error(`ended with ${result.code ?? result.signal}, not 0`);
  }
  process.stdout.write('smoke: stopped\n');
} catch (error) {
  process.stderr.write(`smoke: ${error.message}\n`);
  kill('SIGKILL');
  process.exit(1);
}

function listening() {
  const line = new RegExp(`^dns ([\\d.]+):(\\d+) udp ${backend}\\b`, 'm');
  const why = `udp backend: ${backend} (`;
  return new Promise((resolve, reject) => {
    let text = '';
    const fail = (reason) => reject(new Error(`${reason}; it printed:\n${text}`));
    const missing = `no lines "dns ... udp ${backend}" and "${why}"`;
    const timer = setTimeout(() => fail(missing), START_MS);
    ended.then(({ code, signal }) => fail(`ended with ${code ?? signal}`));
    const read = (chunk) => {
      process.stdout.write(chunk);
      text += chunk;
      const match = line.exec(text);
      if (match === null || !text.includes(why)) return;
      clearTimeout(timer);
      resolve({ address: match[1], port: Number(match[2]) });
    };
    server.stdout.on('data', read);
    server.stderr.on('data', read);
  });
}

/** Sends a probe, a TXT question for dns-discovery.local, and gives the answer as latin1 text. */
function ask(address, port) {
  const labels = ['dns-discovery', 'local'].flatMap((label) => [
    label.length,
    ...Buffer.from(label),
  ]);
  const query = Buffer.from([0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 16, 0, 1]);
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    const timer = setTimeout(() => reject(new Error('no answer to a probe')), ANSWER_MS);
    socket.on('message', (message) => {
      clearTimeout(timer);
      socket.close();
      resolve(message.toString('latin1'));
    });
    socket.send(query, port, address);
  });
}

function stop() {
  const timeout = new Promise((_resolve, reject) => {
    const late = () => reject(new Error(`still running ${STOP_MS} ms after SIGTERM`));
    setTimeout(late, STOP_MS).unref();
  });
  kill('SIGTERM');
  return Promise.race([ended, timeout]);
}

/** The group may be gone already. */
function kill(signal) {
  try {
    process.kill(-server.pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}
