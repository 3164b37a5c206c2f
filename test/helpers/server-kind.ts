/** A discovery server as a client sees it, whoever made it: scenarios run against such ones. */
import type { TestContext } from 'node:test';

/** Where to start one; port 0: any. */
export interface ServerPlace {
  readonly host?: string;
  readonly port?: number;
}

export interface RunningServer {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

export interface ServerKind {
  /** One that has nothing stored, and secrets of its own; closed when the test ends. */
  start(t: TestContext, place?: ServerPlace): Promise<RunningServer>;
}

/** As the option `server` takes it. */
export function at({ host, port }: RunningServer): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
