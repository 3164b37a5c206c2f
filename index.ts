/**
 * The library door. Importing it opens no socket, starts no thread and reads no file.
 */
export type { ApplianceConfig, ListenAddress, UdpBackend } from './server/options/config.ts';
export { version } from './server/version.ts';
