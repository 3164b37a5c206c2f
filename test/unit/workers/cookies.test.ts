import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  COOKIE_AHEAD_SECONDS,
  COOKIE_RENEW_SECONDS,
  COOKIE_SECRET_BYTES,
  COOKIE_VALID_SECONDS,
  Cookies,
  deriveCookieSecret,
  parseCookieSecrets,
} from '../../../workers/cookies.ts';
import { hex } from '../../helpers/dns-bytes.ts';

const SECRET = hex('e5e973e5a6b2a43f48e7dc849e37bfcf');
const CLIENT = '2464c4abcf10c957';
const NOW = 1_559_731_985;

/** 16 bytes, v4-mapped when dotted. */
function address(text: string): { bytes: Uint8Array; family: number } {
  if (text.length === 32) return { bytes: hex(text), family: 6 };
  const four = text.split('.').map(Number);
  return { bytes: Uint8Array.from([...Array(10).fill(0), 255, 255, ...four]), family: 4 };
}

/** The server's side of one exchange: whether the cookie proves the address, and the new one. */
function exchange(
  cookies: Cookies,
  cookie: string,
  from: string,
  now: number,
): { isValid: boolean; answer: string } {
  const { bytes, family } = address(from);
  // As in a slab: the cookie and the address somewhere in the middle, in shared memory.
  const memory = new Uint8Array(new SharedArrayBuffer(256)).fill(0xa5);
  memory.set(hex(cookie), 100);
  memory.set(bytes, 40);
  cookies.setTime(now);
  const isValid = cookies.read(memory, 100, cookie.length / 2, memory, 40, family);
  const out = new Uint8Array(28);
  cookies.write(out, 2);
  assert.deepEqual([...out.slice(0, 2), ...out.slice(26)], [0, 0, 0, 0], 'only the cookie');
  return { isValid, answer: Buffer.from(out.slice(2, 26)).toString('hex') };
}

/** The examples of RFC 9018 appendix A; times as in the answers. */
test('RFC 9018 A.1: learning a new server cookie', () => {
  const { isValid, answer } = exchange(new Cookies(SECRET), CLIENT, '198.51.100.100', 0x5cf79f11);
  assert.equal(answer, '2464c4abcf10c957010000005cf79f111f8130c3eee29480');
  assert.equal(isValid, false, 'a client half alone proves nothing');
});

test('RFC 9018 A.2: the same client learns a renewed one', () => {
  const old = '2464c4abcf10c957010000005cf79f111f8130c3eee29480';
  const { isValid, answer } = exchange(new Cookies(SECRET), old, '198.51.100.100', 0x5cf7a871);
  assert.equal(isValid, true);
  assert.equal(answer, '2464c4abcf10c957010000005cf7a871d4a564a1442aca77');
});

test('RFC 9018 A.3: reserved bytes are hashed as they come; a renewed cookie has none', () => {
  const cookies = new Cookies(SECRET);
  const old = 'fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5';
  assert.equal(exchange(cookies, old, '203.0.113.203', 0x5cf78f71 + 60).isValid, true);
  // The example's answer comes 112 minutes later, by when section 4.3 calls the cookie too old.
  const { isValid, answer } = exchange(cookies, old, '203.0.113.203', 0x5cf7a9ac);
  assert.equal(isValid, false);
  assert.equal(answer, 'fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e');
});

test('RFC 9018 A.4: IPv6, and a secret that was replaced', () => {
  const previous = hex('dd3bdf9344b678b185a6f5cb60fca715');
  const active = hex('445536bcd2513298075a5d379663c962');
  const from = '20010db80220000159ded0f4876982b8';
  const old = '22681ab97d52c298010000005cf7c57926556bd0934c72f8';
  const { isValid, answer } = exchange(new Cookies(active, previous), old, from, 0x5cf7c609);
  assert.equal(isValid, true);
  assert.equal(answer, '22681ab97d52c298010000005cf7c609a6bb79d16625507a', 'renewed at once');
  assert.equal(exchange(new Cookies(active), old, from, 0x5cf7c609).isValid, false);
});

test('valid for an hour and five minutes ahead, given back for half an hour', () => {
  const cookies = new Cookies(SECRET);
  const { answer: cookie } = exchange(cookies, CLIENT, '10.0.0.1', NOW);
  for (const [age, isValid, isKept] of [
    [0, true, true],
    [COOKIE_RENEW_SECONDS, true, true],
    [COOKIE_RENEW_SECONDS + 1, true, false],
    [COOKIE_VALID_SECONDS, true, false],
    [COOKIE_VALID_SECONDS + 1, false, false],
    [-COOKIE_AHEAD_SECONDS, true, true],
    [-COOKIE_AHEAD_SECONDS - 1, false, false],
    [2 ** 31, false, false],
  ] as const) {
    const result = exchange(cookies, cookie, '10.0.0.1', NOW + age);
    assert.deepEqual([result.isValid, result.answer === cookie], [isValid, isKept], `${age} s`);
  }
});

test('timestamps wrap (RFC 1982)', () => {
  const cookies = new Cookies(SECRET);
  const wrap = 2 ** 32;
  const { answer: cookie } = exchange(cookies, CLIENT, '10.0.0.1', wrap - 10);
  assert.equal(cookie.slice(24, 32), 'fffffff6');
  assert.equal(exchange(cookies, cookie, '10.0.0.1', wrap + 10).isValid, true);
  assert.equal(exchange(cookies, cookie, '10.0.0.1', wrap - 10 + 3601).isValid, false);
  assert.equal(exchange(cookies, CLIENT, '10.0.0.1', wrap + 1).answer.slice(24, 32), '00000001');
});

test('no other address, client, version or size, and no changed bit', () => {
  const cookies = new Cookies(SECRET);
  const { answer: cookie } = exchange(cookies, CLIENT, '10.0.0.1', NOW);
  assert.equal(exchange(cookies, cookie, '10.0.0.2', NOW).isValid, false);
  const mapped = Buffer.from(address('10.0.0.1').bytes).toString('hex');
  assert.equal(exchange(cookies, cookie, mapped, NOW).isValid, false, 'as IPv6');
  for (let bit = 0; bit < 192; bit++) {
    const bytes = hex(cookie);
    bytes[bit >> 3] ^= 1 << (bit & 7);
    const changed = Buffer.from(bytes).toString('hex');
    assert.equal(exchange(cookies, changed, '10.0.0.1', NOW).isValid, false, `bit ${bit}`);
  }
  for (const other of [cookie.slice(0, 46), `${cookie}00`, cookie.slice(0, 32)]) {
    const { isValid, answer } = exchange(cookies, other, '10.0.0.1', NOW);
    assert.equal(isValid, false);
    assert.equal(answer, cookie, 'a new one, of the same second');
  }
});

test('one cookie after the other: nothing of the last query stays', () => {
  const cookies = new Cookies(SECRET);
  const six = '20010db8000000000000000000000001';
  const four = exchange(cookies, CLIENT, '10.0.0.1', NOW).answer;
  exchange(cookies, exchange(cookies, CLIENT, six, NOW).answer, six, NOW);
  assert.equal(exchange(cookies, CLIENT, '10.0.0.1', NOW).answer, four);
  assert.equal(exchange(cookies, four, '10.0.0.1', NOW + 5).answer, four);
  assert.notEqual(exchange(cookies, CLIENT, '10.0.0.1', NOW + 5).answer, four);
});

test('secrets: sizes, hexadecimal text, one made of the token secret', () => {
  assert.throws(() => new Cookies(new Uint8Array(15)), /15 bytes: expected 16/);
  assert.throws(() => new Cookies(SECRET, new Uint8Array(17)), /17 bytes: expected 16/);
  const text = 'e5e973e5a6b2a43f48e7dc849e37bfcf';
  assert.deepEqual(parseCookieSecrets(text), { active: SECRET, previous: null });
  const two = parseCookieSecrets(`${'00'.repeat(16)},${text.toUpperCase()}`);
  assert.deepEqual(two, { active: new Uint8Array(16), previous: SECRET });
  for (const bad of ['', 'e5', `${text},`, `${text},${text},${text}`, `x${text.slice(1)}`]) {
    assert.throws(() => parseCookieSecrets(bad), /expected 32 hex digits/, bad);
  }
  const one = deriveCookieSecret(new Uint8Array(32).fill(1));
  assert.equal(one.length, COOKIE_SECRET_BYTES);
  assert.deepEqual(one, deriveCookieSecret(new Uint8Array(32).fill(1)));
  assert.notDeepEqual(one, deriveCookieSecret(new Uint8Array(32).fill(2)));
});
