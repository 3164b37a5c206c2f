// The original: npm dns-discovery as a server; argument: the most records it may keep.
import dgram from 'node:dgram';
import discovery from 'dns-discovery';

const limit = Number(process.argv[2]);

// The original takes 0 for its default ports, so a free port has to be found first.
const probe = dgram.createSocket('udp4');
probe.bind(0, '127.0.0.1', () => {
  const { port } = probe.address();
  probe.close(() => {
    const server = discovery({ multicast: false, limit, push: { limit } });
    server.on('error', (error) => {
      throw error;
    });
    server.listen(port, () => process.stdout.write(`port=${port}\n`));
  });
});
