import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  dhtApplianceConfigs,
  dhtBootstrapFrom,
  dhtFrom,
  dhtNodesFrom,
} from '../../../server/options/dht.ts';
import { UsageError } from '../../../server/options/option.ts';

const usage = (pattern: RegExp) => (error: unknown) =>
  error instanceof UsageError && pattern.test(error.message);

describe('the DHT of waypost serve', () => {
  test('is a bootstrap node at the port of hyperdht by default', () => {
    assert.deepEqual(dhtFrom({}, {}), {
      at: { address: '0.0.0.0', port: 49_737 },
      isRequired: false,
      anyPort: false,
      bootstrap: [],
      host: null,
      isPrivate: false,
    });
  });

  test('is off when that is said, by flag or variable', () => {
    assert.equal(dhtFrom({ dht: 'off' }, {}), null);
    assert.equal(dhtFrom({}, { WAYPOST_DHT: 'off' }), null);
  });

  test('a bare port means all IPv4 addresses', () => {
    for (const text of ['4000', ':4000', '0.0.0.0:4000']) {
      const config = dhtFrom({ dht: text }, {});
      assert.deepEqual(config?.at, { address: '0.0.0.0', port: 4000 }, text);
      assert.equal(config?.isRequired, true);
    }
  });

  test('an address of a LAN or of loopback makes the network a private one', () => {
    assert.equal(dhtFrom({ dht: '127.0.0.1:4000' }, {})?.isPrivate, true);
    assert.equal(dhtFrom({ dhtHost: '192.168.1.2' }, {})?.isPrivate, true);
    assert.equal(dhtFrom({ dhtHost: '8.8.8.8' }, {})?.isPrivate, false);
    assert.equal(dhtFrom({ dhtPrivate: 'true' }, {})?.isPrivate, true);
  });

  test('a private address is no sign where the nodes to start from are public', () => {
    const isPrivate = (flags: Record<string, string>) => dhtFrom(flags, {})?.isPrivate;
    const dht = '10.0.0.5:49737';
    assert.equal(isPrivate({ dht, dhtBootstrap: '88.99.3.86:49737' }), false);
    assert.equal(isPrivate({ dht, dhtBootstrap: 'node1.hyperdht.org:49737' }), false);
    assert.equal(isPrivate({ dhtBootstrap: '10.0.0.6:49737,localhost:1' }), true);
    assert.equal(isPrivate({ dhtBootstrap: '10.0.0.6:49737,8.8.8.8:1' }), false);
    assert.equal(isPrivate({ dht, dhtPrivate: 'false' }), false);
    assert.equal(dhtNodesFrom({ host: '10.0.0.5' }, {})[0].isPrivate, false);
    const node = dhtNodesFrom({ host: '127.0.0.1', bootstrap: '127.0.0.1:1' }, {})[0];
    assert.equal(node.isPrivate, true);
  });

  test('what is wrong is named, with what is allowed', () => {
    const wrong: [Record<string, string>, RegExp][] = [
      [{ dht: '[::1]:1' }, /--dht.*one IPv4 address and port/],
      [{ dht: '1.2.3.4:1,1.2.3.4:2' }, /--dht.*one IPv4/],
      [{ dht: 'localhost:1' }, /--dht.*not an IP address/],
      [{ dhtBootstrap: 'a.example' }, /--dht-bootstrap.*HOST:PORT/],
      [{ dhtBootstrap: 'a.example:0' }, /HOST:PORT/],
      [{ dhtBootstrap: 'a.example:70000' }, /HOST:PORT/],
      [{ dhtBootstrap: 'x@a.example:1' }, /IPV4@HOST:PORT/],
      [{ dhtHost: '::1' }, /--dht-host.*IPv4 address/],
      [{ dhtHost: '0.0.0.0' }, /not a wildcard/],
      [{ dhtHost: '1.2.3.4', dhtBootstrap: 'a:1' }, /--dht-host is for a bootstrap node/],
    ];
    for (const [flags, pattern] of wrong) {
      assert.throws(() => dhtFrom(flags, {}), usage(pattern), JSON.stringify(flags));
    }
  });

  test('bootstrap nodes are named as npm hyperdht names them', () => {
    const text = '88.99.3.86@node1.hyperdht.org:49737, 127.0.0.1:1';
    assert.deepEqual(dhtFrom({ dhtBootstrap: text }, {})?.bootstrap, [
      '88.99.3.86@node1.hyperdht.org:49737',
      '127.0.0.1:1',
    ]);
  });
});

describe('waypost dht', () => {
  test('bootstrap needs the address that others reach it at', () => {
    assert.throws(() => dhtBootstrapFrom({}, {}), usage(/needs --host/));
    const { at, host, bootstrap } = dhtBootstrapFrom({ host: '1.2.3.4', port: '5000' }, {});
    assert.deepEqual(
      { at, host, bootstrap },
      {
        at: { address: '0.0.0.0', port: 5000 },
        host: '1.2.3.4',
        bootstrap: [],
      },
    );
  });

  test('node joins the public network unless told otherwise, by any port', () => {
    const [node] = dhtNodesFrom({}, {});
    assert.match(node.bootstrap.join(), /node1\.hyperdht\.org:49737/);
    assert.equal(node.anyPort, true);
    assert.equal(node.isPrivate, false);
  });

  test('node runs as many as asked for, each an appliance without DNS', () => {
    const nodes = dhtNodesFrom({ nodes: '3', bootstrap: '127.0.0.1:1', host: '127.0.0.1' }, {});
    assert.equal(nodes.length, 3);
    for (const config of dhtApplianceConfigs(nodes, () => undefined)) {
      assert.equal(config.dns, 'off');
      assert.equal(config.workers, 0);
      assert.deepEqual(config.dht, nodes[0]);
    }
  });

  test('node takes a port for a single node only', () => {
    assert.throws(() => dhtNodesFrom({ nodes: '2', port: '4000' }, {}), usage(/--port is for a/));
    assert.equal(dhtNodesFrom({ port: '4000' }, {})[0].anyPort, false);
    assert.throws(() => dhtNodesFrom({ nodes: '0' }, {}), usage(/1 to 256/));
  });
});
