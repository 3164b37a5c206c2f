import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { INTERNAL } from '../../../codecs/dht/constants.ts';
import { parseBootstrap } from '../../../server/dht/bootstrap.ts';
import type { DhtNodeOptions } from '../../../server/dht/types.ts';
import { NodeHarness } from '../../helpers/dht-node-harness.ts';

describe('bootstrap nodes', () => {
  test('they are written in several ways', () => {
    const plain = { suggested: null, host: '192.0.2.1', port: 49_737 };
    assert.deepEqual(parseBootstrap('192.0.2.1:49737'), plain);
    assert.deepEqual(parseBootstrap({ host: '192.0.2.1', port: 49_737 }), plain);
    assert.deepEqual(parseBootstrap(10_001), { suggested: null, host: '127.0.0.1', port: 10_001 });
    assert.deepEqual(parseBootstrap('192.0.2.1@node.example:1'), {
      suggested: '192.0.2.1',
      host: 'node.example',
      port: 1,
    });
  });

  test('what is wrong with one is said', () => {
    const wrong = ['', 'host', 'host:', ':1', 'host:0', 'host:70000', 'host:x', 'name@host:1'];
    for (const node of [...wrong, '1.2.3.4@:1']) {
      assert.throws(() => parseBootstrap(node), /expected host:port or ip@host:port/, node);
    }
    assert.throws(() => new NodeHarness({ bootstrap: ['nothing'] }), /'nothing'/);
  });

  test('a name is looked up', async () => {
    const harness = new NodeHarness({ bootstrap: ['node.example:49737'] });
    harness.names.set('node.example', '45.0.7.9');
    harness.crowd(5);
    await harness.ready();
    assert.equal(harness.sent[0].to.host, '45.0.7.9');
    assert.equal(harness.table.size, 5);
  });

  test('the suggested address is tried, and the name not looked up when it answers', async () => {
    const harness = new NodeHarness({ bootstrap: ['45.0.7.9@node.example:49737'] });
    harness.crowd(5);
    await harness.ready();
    assert.equal(harness.sent[0].request.command, INTERNAL.PING);
    assert.equal(harness.table.size, 5);
  });

  test('when it is silent the name is', async () => {
    const harness = new NodeHarness({ bootstrap: ['99.0.7.9@node.example:49737'] });
    harness.names.set('node.example', '45.0.7.9');
    harness.crowd(5);
    await harness.ready();
    assert.equal(harness.table.size, 5);
  });

  test('without any that answers the node is ready, and tries again', async () => {
    for (const bootstrap of [[], ['nowhere.example:49737'], ['45.0.7.9:49737']]) {
      const options: DhtNodeOptions = { bootstrap };
      const harness = new NodeHarness(options);
      await harness.ready();
      assert.ok(harness.events.includes('ready'), String(bootstrap));
      harness.crowd(5);
      harness.names.set('nowhere.example', '45.1.7.9');
      await harness.clock.pass(400_000, 1000);
      assert.equal(harness.table.size, bootstrap.length === 0 ? 0 : 5);
    }
  });

  test('a node that has lost all others asks those it knew', async () => {
    const harness = new NodeHarness({ nodes: [{ host: '45.0.7.9', port: 49_737 }] });
    const crowd = harness.crowd(8);
    await harness.ready();
    assert.equal(harness.table.size, 8);
    for (const peer of crowd) peer.isDown = true;
    await harness.clock.pass(900_000, 1000);
    assert.equal(harness.table.size, 0);
    for (const peer of crowd) peer.isDown = false;
    await harness.clock.pass(120_000, 1000);
    assert.equal(harness.table.size, 8);
  });
});
