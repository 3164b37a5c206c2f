/**
 * The library door. Importing it opens no socket, starts no thread and reads no file.
 */
export type * from './server/discovery/discovery.ts';
export { Discovery, DiscoveryError, discovery } from './server/discovery/discovery.ts';
export type { ApplianceConfig, ListenAddress, UdpBackend } from './server/options/config.ts';
export { version } from './server/version.ts';
