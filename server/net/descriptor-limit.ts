/** How many descriptors this process may have: connections need one each. */
import { readFileSync } from 'node:fs';

/** Sockets, files, threads and what Node itself needs. */
const RESERVE = 128;

/** The process's limit (Linux), null where it cannot be read or there is none. */
function descriptorLimit(): number | null {
  try {
    const line = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
    return line === null ? null : Number(line[1]);
  } catch {
    return null;
  }
}

/** A line for the operator when `connections` do not fit in the limit, else null. */
export function descriptorNotice(
  connections: number,
  limit: number | null = descriptorLimit(),
): string | null {
  if (limit === null || connections + RESERVE <= limit) return null;
  return (
    `${connections} TCP connections need ${connections + RESERVE} descriptors and this process` +
    ` may have ${limit}: raise the limit (LimitNOFILE= in a systemd unit, ulimit -n in a shell)` +
    ' or lower --tcp-connections'
  );
}
