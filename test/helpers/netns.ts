/** Network namespaces joined by a pair of virtual Ethernet devices, and processes in them. */
import { type ChildProcess, type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

const PEER = fileURLToPath(new URL('./netns-peer.ts', import.meta.url));

/** Why there can be no namespaces here, or false. */
export const noNamespaces: string | false = checkNamespaces();

function checkNamespaces(): string | false {
  const script = 'ip link add wp0 type veth peer name wp1 && nsenter --version';
  const tried = spawnSync('unshare', ['-n', 'sh', '-c', script], { encoding: 'utf8' });
  if (tried.status === 0) return false;
  const reason = tried.stderr?.trim() || tried.error?.message || 'failed';
  return `needs root, unshare and nsenter (util-linux), ip (iproute2) and veth: ${reason}`;
}

/** A namespace: a machine of its own, as far as the network goes. It ends with the test. */
export class Namespace {
  readonly pid: number;
  readonly #holder: ChildProcess;

  private constructor(holder: ChildProcess, pid: number) {
    this.#holder = holder;
    this.pid = pid;
  }

  static async make(t: TestContext): Promise<Namespace> {
    // Ends when its input does: also when this process dies.
    const script = 'ip link set lo up; echo up; exec cat';
    const holder = spawn('unshare', ['-n', 'sh', '-c', script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    t.after(() => holder.kill('SIGKILL'));
    // It is in its namespace by then.
    await once(holder.stdout, 'data');
    const namespace = new Namespace(holder, holder.pid as number);
    // Addresses are usable at once; where it may not be said, they are a second or two later.
    namespace.run('echo 0 2>/dev/null >/proc/sys/net/ipv6/conf/default/accept_dad || true');
    return namespace;
  }

  /** Runs a shell line there; throws when it fails. */
  run(script: string): string {
    if (this.#holder.exitCode !== null) throw new Error('the namespace has ended');
    const ran = spawnSync('nsenter', [...this.#enter(), 'sh', '-c', script], { encoding: 'utf8' });
    if (ran.status !== 0) throw new Error(`${script}: ${ran.stderr}`);
    return ran.stdout;
  }

  /** Starts a peer there: `original` is npm dns-discovery, `ours` is this package. */
  peer(t: TestContext, kind: 'original' | 'ours', options: object = {}): Promise<NamespacePeer> {
    return NamespacePeer.start(
      t,
      [...this.#enter(), process.execPath, '--import', 'tsx'],
      [PEER, kind, JSON.stringify(options)],
    );
  }

  #enter(): string[] {
    return ['-t', String(this.pid), '-n'];
  }
}

/** A wire between two namespaces: a device of that name at both ends, up, without addresses. */
export function connect(left: Namespace, right: Namespace, device: string): void {
  left.run(`ip link add ${device} type veth peer name ${device} netns ${right.pid}`);
  for (const side of [left, right]) side.run(`ip link set ${device} up`);
}

/** A process that announces and looks up as it is told; see netns-peer.ts. */
export class NamespacePeer {
  /** What it has written so far. */
  readonly lines: string[] = [];
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  #wake: () => void = () => undefined;

  private constructor(t: TestContext, command: readonly string[]) {
    this.#child = spawn('nsenter', command, { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.lines.push(line);
      this.#wake();
    });
    this.#child.once('close', () => {
      this.lines.push('ended');
      this.#wake();
    });
    t.after(() => this.#child.kill('SIGKILL'));
  }

  static async start(
    t: TestContext,
    enter: readonly string[],
    args: readonly string[],
  ): Promise<NamespacePeer> {
    const peer = new NamespacePeer(t, [...enter, ...args]);
    await peer.line(/^ready$/);
    return peer;
  }

  announce(name: string, port: number): void {
    this.#child.stdin.write(`announce ${name} ${port}\n`);
  }

  lookup(name: string): void {
    this.#child.stdin.write(`lookup ${name}\n`);
  }

  /** Looks `name` up, once in 200 ms, until a line matches; what came before is forgotten. */
  async finds(name: string, pattern: RegExp): Promise<string> {
    this.lines.length = 0;
    this.lookup(name);
    const asking = setInterval(() => this.lookup(name), 200);
    try {
      return await this.line(pattern);
    } finally {
      clearInterval(asking);
    }
  }

  /** The first line that matches, now or later; rejects when the process ends without one. */
  async line(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = this.lines.find((line) => pattern.test(line));
      if (found !== undefined) return found;
      if (this.lines.includes('ended')) throw new Error(`ended: ${this.lines.join('; ')}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
