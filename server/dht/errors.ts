/** What requests and queries fail with: codes and texts of npm dht-rpc 6, and NOT_SENT. */

export type DhtErrorCode =
  | 'REQUEST_TIMEOUT'
  | 'REQUEST_DESTROYED'
  | 'IO_SUSPENDED'
  | 'TOO_MANY_REQUESTS'
  | 'NODE_DESTROYED'
  | 'NOT_SENT'
  | 'NO_TOKEN'
  | 'TOO_FEW_REPLIES';

export class DhtError extends Error {
  readonly code: DhtErrorCode;

  constructor(code: DhtErrorCode, message: string) {
    super(`${code}: ${message}`);
    this.name = 'DHTError';
    this.code = code;
  }
}

export function requestTimeout(): DhtError {
  return new DhtError('REQUEST_TIMEOUT', 'Request timed out');
}

export function requestDestroyed(): DhtError {
  return new DhtError('REQUEST_DESTROYED', 'Request destroyed');
}

export function ioSuspended(): DhtError {
  return new DhtError('IO_SUSPENDED', 'I/O suspended');
}

/** The transport does not take the request. */
export function notSent(cause: unknown): DhtError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new DhtError('NOT_SENT', reason);
}

export function nodeDestroyed(): DhtError {
  return new DhtError('NODE_DESTROYED', 'Node destroyed');
}
