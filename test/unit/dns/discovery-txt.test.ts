import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_TXT_STRINGS } from '../../../codecs/dns/constants.ts';
import { DiscoveryTxt } from '../../../codecs/dns/discovery-txt.ts';

interface Read {
  announce: number;
  unannounce: number;
  subscribe: boolean;
  token: string | undefined;
}

const NOTHING: Read = { announce: -1, unannounce: -1, subscribe: false, token: undefined };

function read(...strings: string[]): Read {
  const parts = strings.map((text) => Buffer.from(text));
  const bytes = Buffer.concat(parts.flatMap((part) => [Buffer.from([part.length]), part]));
  const framed = Uint8Array.from([0xaa, ...bytes, 0x35]);
  const txt = new DiscoveryTxt();
  assert.equal(txt.read(framed, 1, 1 + bytes.length), true);
  const { announce, unannounce, subscribe, tokenStart, tokenLength } = txt;
  const value = Buffer.from(framed).subarray(tokenStart, tokenStart + tokenLength);
  return {
    announce,
    unannounce,
    subscribe,
    token: tokenLength < 0 ? undefined : value.toString(),
  };
}

test('what the clients send', () => {
  assert.deepEqual(read('subscribe=true', 'token=abc', 'announce=8080'), {
    announce: 8080,
    unannounce: -1,
    subscribe: true,
    token: 'abc',
  });
  assert.deepEqual(read('token=abc=', 'unannounce=8081'), {
    announce: -1,
    unannounce: 8081,
    subscribe: false,
    token: 'abc=',
  });
});

test('ports: one to five digits, at most 65535', () => {
  const ports: [string, number][] = [
    ['0', 0],
    ['00000', 0],
    ['00080', 80],
    ['65535', 65_535],
    ['65536', -1],
    ['99999', -1],
    ['000080', -1],
    ['', -1],
    ['-1', -1],
    ['+1', -1],
    ['8080 ', -1],
    ['80\n', -1],
    ['8:', -1],
    ['8/', -1],
    ['1e3', -1],
  ];
  for (const [text, port] of ports) {
    assert.equal(read(`announce=${text}`).announce, port, JSON.stringify(text));
    assert.equal(read(`unannounce=${text}`).unannounce, port, JSON.stringify(text));
  }
  assert.equal(read('announce').announce, -1, 'a flag is no port');
});

test('subscribe: truthiness', () => {
  assert.equal(read('subscribe').subscribe, true);
  assert.equal(read('subscribe=').subscribe, false);
  assert.equal(read('subscribe=false').subscribe, true);
  assert.equal(read('subscribe=0').subscribe, true);
});

test('token: a flag is none, empty is empty', () => {
  assert.equal(read('token').token, undefined);
  assert.equal(read('token=').token, '');
});

test('the last of several equal keys counts', () => {
  assert.equal(read('announce=1', 'announce=2').announce, 2);
  assert.equal(read('announce=1', 'announce=x').announce, -1);
  assert.equal(read('token=a', 'token').token, undefined);
  assert.equal(read('subscribe', 'subscribe=').subscribe, false);
});

test('other keys, other case, prefixes and empty strings mean nothing', () => {
  const others = ['Announce=1', 'announce2=1', 'announc=1', 'SUBSCRIBE', 'subscribed', 'tokens=1'];
  others.push('=announce=1', '', 't', ' token=a', 'announce =1', 'peers=AAAA', 'subscribe2');
  assert.deepEqual(read(...others), NOTHING);
  assert.deepEqual(read(), NOTHING);
});

test('a key does not go on in the next string, whose length is a letter', () => {
  assert.equal(read('subscr', `be=${'x'.repeat(102)}`).subscribe, false);
  assert.equal(read('announce=5', 'annou', `ce=7${'x'.repeat(106)}`).announce, 5);
});

test('a string over the end is an error, and fields of the last read are gone', () => {
  const txt = new DiscoveryTxt();
  const good = Uint8Array.from(Buffer.from('\x0bannounce=7'));
  assert.equal(txt.read(good, 0, good.length), false);
  good[0] = 10;
  assert.equal(txt.read(good, 0, 11), true);
  assert.equal(txt.announce, 7);
  assert.equal(txt.read(Uint8Array.of(5, 97), 0, 2), false);
  assert.equal(txt.announce, -1);
});

test('only the first MAX_TXT_STRINGS strings are looked at', () => {
  const fillers = Array<string>(MAX_TXT_STRINGS - 1).fill('');
  assert.equal(read(...fillers, 'announce=7').announce, 7);
  assert.equal(read(...fillers, '', 'announce=7').announce, -1);
});
