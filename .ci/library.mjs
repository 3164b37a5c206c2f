// The installed package as a library: imported and required, a server and two clients on loopback.
// Run it in a folder that has `waypost` in its node_modules. Needs only Node.
import { createRequire } from 'node:module';
import { discovery, version } from 'waypost';

const loadedBefore = nativePackages();
if (loadedBefore.length > 0) throw new Error(`importing loaded ${loadedBefore.join(', ')}`);
const required = createRequire(import.meta.url)('waypost/discovery');
if (required !== discovery) throw new Error('require and import bring different things');

const server = required({ multicast: false });
const { port } = (await server.listen(0)).find(({ address }) => address === '0.0.0.0');
const options = { server: `127.0.0.1:${port}`, multicast: false };
const [announcer, seeker] = [new required(options), discovery(options)];
await announcer.announce('smoke', 8080);
const peers = await seeker.lookup('smoke');
await Promise.all([announcer, seeker, server].map((disc) => disc.destroy()));
const found = JSON.stringify(peers);
if (found !== '[{"port":8080,"host":"127.0.0.1"}]') throw new Error(`found ${found}`);
process.stdout.write(`library: ${version} on Node ${process.version} found ${found}\n`);

function nativePackages() {
  return process.report.getReport().sharedObjects.filter((path) => path.endsWith('.node'));
}
