import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { NatSampler } from '../../../server/dht/nat-sampler.ts';
import { Rng } from '../../../workers/rng.ts';

const OURS = { host: '51.15.0.7', port: 4000 };
const OTHER = { host: '62.1.2.3', port: 5000 };

function source(network: number, host = 9) {
  return { host: `45.0.${network}.${host}`, port: 1 };
}

function shown(sampler: NatSampler) {
  return [sampler.host, sampler.port];
}

describe('NAT sampler', () => {
  test('the first word is taken, and one against one leaves nothing', () => {
    const sampler = new NatSampler(false);
    sampler.add(OURS, source(1), false);
    assert.deepEqual(shown(sampler), [OURS.host, OURS.port]);
    sampler.add(OTHER, source(2), false);
    assert.deepEqual(shown(sampler), [null, 0]);
  });

  test('of many, a few may say otherwise', () => {
    for (const [count, liars] of [
      [4, 1],
      [8, 2],
      [12, 3],
      [16, 3],
    ]) {
      for (const extra of [0, 1]) {
        const sampler = new NatSampler(false);
        for (let i = 0; i < count; i++) {
          sampler.add(i < liars + extra ? OTHER : OURS, source(i), false);
        }
        assert.equal(sampler.host, extra === 0 ? OURS.host : null, `${count}, ${liars}+${extra}`);
      }
    }
  });

  test('another port for each is a host without a port', () => {
    const sampler = new NatSampler(false);
    for (let i = 0; i < 6; i++) {
      sampler.add({ host: OURS.host, port: 1000 + i }, source(i), false);
    }
    assert.deepEqual(shown(sampler), [OURS.host, 0]);
  });

  test('only the last sixteen count', () => {
    const sampler = new NatSampler(false);
    for (let i = 0; i < 16; i++) sampler.add(OTHER, source(i), false);
    for (let i = 0; i < 12; i++) sampler.add(OURS, source(20 + i), false);
    assert.equal(sampler.host, null);
    sampler.add(OURS, source(40), false);
    assert.deepEqual(shown(sampler), [OURS.host, OURS.port]);
    assert.equal(sampler.size, 16);
  });

  test('it says what npm nat-sampler says, whoever is asked in turn', () => {
    const require = createRequire(createRequire(import.meta.url).resolve('dht-rpc'));
    const Original = require('nat-sampler') as new () => {
      host: string | null;
      port: number;
      add(host: string, port: number): void;
    };
    for (let seed = 1; seed <= 200; seed++) {
      const rng = new Rng(seed);
      const ours = new NatSampler(false);
      const original = new Original();
      const oneIn = 2 + rng.below(10);
      for (let i = 0; i < 40; i++) {
        const address = i % oneIn === 1 ? OTHER : OURS;
        ours.add(address, source(i), false);
        original.add(address.host, address.port);
        assert.deepEqual(
          shown(ours),
          [original.host, original.port],
          `seed ${seed}, sample ${i}, one in ${oneIn} says otherwise`,
        );
      }
    }
  });

  test('one network has but four voices, its latest', () => {
    const sampler = new NatSampler(false);
    for (let i = 0; i < 12; i++) sampler.add(OTHER, source(1, i), false);
    assert.equal(sampler.size, 4);
    for (let i = 0; i < 12; i++) sampler.add(OURS, source(2 + i), false);
    assert.equal(sampler.size, 16);
    for (let i = 0; i < 4; i++) sampler.add(OURS, source(1, i), false);
    assert.deepEqual(shown(sampler), [OURS.host, OURS.port]);
  });

  test('strangers are believed when three networks agree, a named node alone', () => {
    const sampler = new NatSampler(false);
    for (let i = 0; i < 4; i++) sampler.add(OURS, source(1, i), false);
    sampler.add(OURS, source(2), false);
    assert.equal(sampler.isCorroborated, false);
    sampler.add(OURS, source(3), false);
    assert.equal(sampler.isCorroborated, true);
    const named = new NatSampler(false);
    named.add(OURS, source(1), true);
    assert.equal(named.isCorroborated, true);
    const lan = new NatSampler(true);
    lan.add(OURS, source(1), false);
    assert.equal(lan.isCorroborated, true);
    assert.equal(new NatSampler(true).isCorroborated, false);
  });

  test('a guess holds until three networks agree on something else', () => {
    const sampler = new NatSampler(false);
    sampler.guess(OURS);
    assert.deepEqual(shown(sampler), [OURS.host, OURS.port]);
    assert.equal(sampler.isCorroborated, true);
    assert.equal(sampler.isAgreed, false);
    for (let i = 0; i < 4; i++) sampler.add(OTHER, source(1, i), false);
    sampler.add(OTHER, source(2), false);
    assert.deepEqual(shown(sampler), [OURS.host, OURS.port], 'two networks');
    sampler.add(OTHER, source(3), false);
    assert.equal(sampler.isAgreed, true);
    assert.deepEqual(shown(sampler), [OTHER.host, OTHER.port]);
    for (let i = 0; i < 4; i++) sampler.add(OURS, source(4 + i), false);
    assert.deepEqual(shown(sampler), [OURS.host, OURS.port], 'who disagree leave the guess');
    sampler.guess(null);
    assert.deepEqual(shown(sampler), [null, 0]);
  });

  test('another port for each leaves the guess', () => {
    const sampler = new NatSampler(false);
    sampler.guess(OURS);
    for (let i = 0; i < 6; i++) {
      sampler.add({ host: OTHER.host, port: 1000 + i }, source(i), false);
    }
    assert.deepEqual(shown(sampler), [OURS.host, OURS.port]);
  });

  test('in a private network a guess falls to three nodes, or to all when they are fewer', () => {
    const one = new NatSampler(true);
    one.guess(OURS);
    one.add(OTHER, source(1), false);
    assert.deepEqual(shown(one), [OTHER.host, OTHER.port]);
    one.add(OURS, source(1, 8), false);
    assert.deepEqual(shown(one), [OURS.host, OURS.port], 'one against one');
    const many = new NatSampler(true);
    many.guess(OURS);
    many.add(OURS, source(1, 1), false);
    // One node that says it thrice outweighs nobody.
    for (let i = 0; i < 3; i++) many.add(OTHER, source(1, 2), false);
    assert.deepEqual(shown(many), [OURS.host, OURS.port]);
    for (const host of [3, 4, 5]) many.add(OTHER, source(1, host), false);
    assert.deepEqual(shown(many), [OTHER.host, OTHER.port]);
  });

  test('what the operator says stands', () => {
    const sampler = new NatSampler(false);
    sampler.pin(OURS.host, OURS.port);
    for (let i = 0; i < 16; i++) sampler.add(OTHER, source(i), true);
    assert.deepEqual(shown(sampler), [OURS.host, OURS.port]);
    assert.equal(sampler.isCorroborated, true);
  });
});
