/**
 * A network of a test's own, made with unshare: loopback, a link with one IPv4 address that
 * multicast works on, addresses for servers, and names. Commands are run in it by putting `wrapper`
 * before them.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The address of the link; what is announced over multicast is found there. */
export const LINK_ADDRESS = '192.0.2.1';

/** Each address of this network is a server's: who asks it is seen at the address of the link. */
const SERVERS_NETWORK = '198.51.100.0/24';

/** Nobody is there; npm multicast-dns sends to where the default route leads. */
const LINK_ROUTER = '192.0.2.254';

const SETUP = `set -e
ip link set lo up
ip link add wp0 type veth peer name wp1
ip link set wp0 addrgenmode none
ip link set wp1 addrgenmode none
ip address add ${LINK_ADDRESS}/24 dev wp0
ip link set wp0 up
ip link set wp1 up
ip route add default via ${LINK_ROUTER}
ip route add local ${SERVERS_NETWORK} dev lo src ${LINK_ADDRESS}
mount --bind "$1" /etc/hosts
echo ready
exec cat`;

/** Why there is no such network here, or false. */
export const noNamespace: string | false = canHave()
  ? false
  : 'needs root, unshare and nsenter (util-linux), mount, and ip (iproute2)';

function canHave(): boolean {
  const script = 'ip link add wp0 type veth peer name wp1 && mount --bind "$0" "$0"';
  const made = spawnSync('unshare', ['-n', '-m', 'sh', '-c', script, process.execPath]);
  return made.status === 0 && spawnSync('nsenter', ['--version']).status === 0;
}

export class NetNamespace {
  /** Put before a command and its arguments. */
  readonly wrapper: readonly string[];

  private constructor(pid: number | undefined) {
    this.wrapper = ['nsenter', '-t', `${pid}`, '-n', '-m', `--wd=${ROOT}`, '--'];
  }

  /** Host names and their addresses. It goes when the test ends, or the process. */
  static async open(
    t: TestContext,
    names: Readonly<Record<string, string>> = {},
  ): Promise<NetNamespace> {
    const folder = mkdtempSync(join(tmpdir(), 'waypost-test-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const hosts = join(folder, 'hosts');
    const all = [['localhost', '127.0.0.1'], ...Object.entries(names)];
    writeFileSync(hosts, all.map(([name, address]) => `${address} ${name}\n`).join(''));
    // It holds the namespace until its standard input ends.
    const holder = spawn('unshare', ['-n', '-m', 'sh', '-c', SETUP, 'sh', hosts], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    t.after(() => holder.kill('SIGKILL'));
    await once(createInterface({ input: holder.stdout }), 'line');
    return new NetNamespace(holder.pid);
  }
}
