/**
 * npm dns-discovery 6.2.3 as a server in a process of its own, by its library or its command line,
 * on one address of loopback: the original binds to all.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { ORIGINAL_CLI } from './original-discovery.ts';
import type { ServerPlace } from './server-kind.ts';

const LIBRARY = createRequire(import.meta.url).resolve('dns-discovery');

/** A socket that names a port and no address gets this one. */
const bindTo = (host: string) =>
  `data:text/javascript,${encodeURIComponent(`
import dgram from 'node:dgram';
const { bind } = dgram.Socket.prototype;
dgram.Socket.prototype.bind = function (port, ...rest) {
  const isOurs = typeof port === 'number' && typeof rest[0] !== 'string';
  return bind.call(this, port, ...(isOurs ? ['${host}'] : []), ...rest);
};`)}`;

/** Listens, tells its port, and does what the messages say. */
const SERVER = `
const { library, port, options } = JSON.parse(process.argv[1]);
const server = require(library)({ multicast: false, ...options });
const calls = {
  records: () => Object.fromEntries(server.toJSON().map(({ name, records }) =>
    [name, records.map(({ host, port }) => host + ':' + port).sort()])),
  rotate: () => server._rotateSecrets(),
};
process.on('message', (call) => process.send({ result: calls[call]() ?? null }));
process.on('disconnect', () => process.exit());
server.listen([port], () => process.send({ port: server._sockets[1].address().port }));`;

export class OriginalServer {
  readonly host: string;
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, host: string, port: number) {
    this.#child = child;
    this.host = host;
    this.port = port;
  }

  /** The library's `listen`. */
  static async listen(
    t: TestContext,
    { host = '127.0.0.1', port = 0 }: ServerPlace = {},
    options: object = {},
  ): Promise<OriginalServer> {
    const what = JSON.stringify({ library: LIBRARY, port, options });
    const child = spawn(process.execPath, ['--import', bindTo(host), '-e', SERVER, what], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    t.after(() => child.kill('SIGKILL'));
    const [told] = (await once(child, 'message')) as [{ port: number }];
    return new OriginalServer(child, host, told.port);
  }

  /** The command line's `listen`. */
  static async commandLine(
    t: TestContext,
    { host = '127.0.0.1', port = 0 }: ServerPlace = {},
    args: readonly string[] = [],
  ): Promise<OriginalServer> {
    const own = port === 0 ? await freePort(host) : port;
    const flags = ['listen', `--port=${own}`, '--no-multicast', ...args];
    const child = spawn(process.execPath, ['--import', bindTo(host), ORIGINAL_CLI, ...flags], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => child.kill('SIGKILL'));
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    if (line !== `Server is listening on port ${own}`) throw new Error(line);
    return new OriginalServer(child, host, own);
  }

  /** What it has stored, by name, as sorted `host:port`; of the library only. */
  records(): Promise<Record<string, string[]>> {
    return this.#call('records') as Promise<Record<string, string[]>>;
  }

  /** Makes the last but one secret invalid, as every five minutes; of the library only. */
  async rotateSecrets(): Promise<void> {
    await this.#call('rotate');
  }

  async close(): Promise<void> {
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }

  async #call(call: string): Promise<unknown> {
    const answer = once(this.#child, 'message') as Promise<[{ result: unknown }]>;
    this.#child.send(call);
    return (await answer)[0].result;
  }
}

/** A port that was free a moment ago: the command line takes no 0. */
async function freePort(host: string): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, host);
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  return port;
}
