/** BIND's dig and Knot's kdig as child processes. */
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The tools there are, and how to get those that are not. */
export const DIGS: readonly { tool: string; skip: string | false }[] = [
  { tool: 'dig', from: 'bind9-dnsutils' },
  { tool: 'kdig', from: 'knot-dnsutils' },
].map(({ tool, from }) => {
  const isMissing = spawnSync(tool, ['-v']).error !== undefined;
  return { tool, skip: isMissing ? `${tool} is not installed: apt-get install ${from}` : false };
});

/** What `tool` prints, asking the server at `port` of 127.0.0.1 or, with `@ADDR`, of another. */
export async function dig(tool: string, port: number, ...args: string[]): Promise<string> {
  const server = args.find((arg) => arg.startsWith('@')) ?? '@127.0.0.1';
  const rest = args.filter((arg) => arg !== server);
  const { stdout, stderr } = await run(tool, [server, '-p', `${port}`, ...rest]);
  return stdout + stderr;
}
