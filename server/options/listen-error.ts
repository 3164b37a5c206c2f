/** What an operator can do about an address that cannot be opened. */
import { messageOf } from '../message-of.ts';
import { formatEndpoint } from './addresses.ts';

/** Where DNS lives, and with it the usual other holder of the port. */
const DNS_PORT = 53;

/** Ports below this one need a privilege unless the kernel is told otherwise. */
const FIRST_UNPRIVILEGED_PORT = 1024;

/** How the user of a command asks for another port than 53. */
const OTHER_PORT = '--dns :5300 (listen: --port 5300)';

/**
 * Lines for a listen error: what failed, then how to free or permit the address, or how to do
 * without: `otherPort` says how one asks for another port. `error` is what bind threw; its `code`
 * decides.
 */
export function explainListenError(
  error: unknown,
  address: { readonly address: string; readonly port: number },
  otherPort = OTHER_PORT,
): string {
  const transport = transportOf(error);
  const where = `${formatEndpoint(address)} ${transport}`;
  switch (errorCode(error)) {
    case 'EACCES':
    case 'EPERM':
      return [`${where}: not permitted`, ...howToPermit(address.port, otherPort)].join('\n  ');
    case 'EADDRINUSE':
      return [`${where}: already in use`, ...howToFree(address.port, transport, otherPort)].join(
        '\n  ',
      );
    case 'EADDRNOTAVAIL':
      return `${where}: this machine does not have the address (ip addr shows those it has)`;
    case 'EAFNOSUPPORT':
      return `${where}: this machine has no IPv6`;
    default:
      return `${where}: ${messageOf(error)}`;
  }
}

/** Only TCP sockets listen; the error names the system call. */
function transportOf(error: unknown): 'udp' | 'tcp' {
  const isListen = error instanceof Error && 'syscall' in error && error.syscall === 'listen';
  return isListen ? 'tcp' : 'udp';
}

function errorCode(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('code' in error)) return '';
  return String(error.code);
}

function howToPermit(port: number, otherPort: string): string[] {
  if (port >= FIRST_UNPRIVILEGED_PORT) return ['a security policy of this machine forbids it'];
  return [
    'with systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit',
    `for every program: sysctl net.ipv4.ip_unprivileged_port_start=${port}`,
    'for every Node program: setcap cap_net_bind_service=+ep "$(readlink -f "$(which node)")"',
    `or do without: ${otherPort}`,
  ];
}

function howToFree(port: number, transport: 'udp' | 'tcp', otherPort: string): string[] {
  const sockets = transport === 'udp' ? '-lunp' : '-ltnp';
  const lines = [`who has it: ss ${sockets} "sport = :${port}"`];
  if (port === DNS_PORT) {
    lines.push(
      'if systemd-resolved: DNSStubListener=no in /etc/systemd/resolved.conf, then' +
        ' systemctl restart systemd-resolved',
      `or do without: ${otherPort}`,
    );
  } else {
    lines.push('or choose another port; 0 takes any free one');
  }
  return lines;
}
