/** A WireClient on a fake clock, and the servers it talks to, by hand. */
import { decode, encode, type Packet, TRUNCATED_RESPONSE } from 'dns-packet';
import type { Answer } from '../../codecs/dns/client-answer.ts';
import type { QuestionKind } from '../../codecs/dns/client-query.ts';
import { wireName } from '../../server/discovery/options.ts';
import type { Peer } from '../../server/discovery/types.ts';
import type { Destination } from '../../server/discovery/wire/questions.ts';
import { parseServer } from '../../server/discovery/wire/server-address.ts';
import { WireClient } from '../../server/discovery/wire/wire-client.ts';
import { Rng } from '../../workers/rng.ts';

export const DOMAIN = 'dns-discovery.local';
export const TICK_MS = 20;

export interface SentQuery {
  readonly message: Packet;
  readonly id: number;
  readonly to: Destination;
  readonly at: number;
  /** The strings of its TXT record. */
  readonly strings: readonly string[];
  /** The data of its COOKIE option; null without an OPT. */
  readonly cookie: Uint8Array | null;
}

export interface Outcome {
  readonly error: Error | null;
  readonly answer: Answer | null;
  readonly from: Destination | null;
}

export interface ReplyParts {
  readonly strings?: readonly string[];
  readonly name?: string;
  readonly id?: number;
  readonly rcode?: number;
  readonly isTruncated?: boolean;
  /** The whole COOKIE option; null: an OPT without; undefined: no OPT. */
  readonly cookie?: Uint8Array | null | undefined;
  readonly from?: Destination;
}

const COOKIE_OPTION = 10;

export class WireHarness {
  readonly sent: SentQuery[] = [];
  readonly byTcp: { query: SentQuery; done: (answer: Uint8Array | null) => void }[] = [];
  readonly pushed: string[] = [];
  readonly client: WireClient;
  addresses: readonly string[] = ['192.0.2.1'];
  resolveError: Error | null = null;
  /** The system is still looking for the host. */
  isSilent = false;
  now = 1_000_000;

  constructor(server = '192.0.2.1:5300,53', options: { mostSends?: number } = {}) {
    const rng = new Rng(7);
    this.client = new WireClient(
      {
        server: parseServer(server),
        domain: wireName('', DOMAIN),
        timeoutMs: 7500,
        mostSends: options.mostSends ?? Number.POSITIVE_INFINITY,
        randomId: () => rng.below(0x10000),
        secretBytes: (count) => Uint8Array.from({ length: count }, () => rng.below(256)),
      },
      {
        send: (bytes, to) => this.sent.push(this.#read(bytes, to)),
        askTcp: (bytes, to, _timeoutMs, done) =>
          this.byTcp.push({ query: this.#read(bytes, to), done }),
        resolve: (_host, done) => {
          if (!this.isSilent) done(this.addresses, this.resolveError);
        },
        pushed: (name: string, peer: Peer) => this.pushed.push(`${name} ${peer.host}:${peer.port}`),
      },
    );
  }

  get last(): SentQuery {
    const last = this.sent.at(-1);
    if (last === undefined) throw new Error('nothing was sent');
    return last;
  }

  /** Asks; the outcomes come into the array. */
  ask(kind: QuestionKind, name = 'app', port = 0): Outcome[] {
    const outcomes: Outcome[] = [];
    const wire = wireName(kind === 'probe' ? '' : name, DOMAIN);
    const label = kind === 'lookup' || kind === 'announce' ? name : null;
    const question = { kind, name: wire, token: null, port };
    this.client.ask(question, label, this.now, (error, answer, from) =>
      outcomes.push({ error, answer, from }),
    );
    return outcomes;
  }

  /** Lets time pass, with the ticks of it. */
  pass(ms: number): void {
    for (const end = this.now + ms; this.now < end; ) {
      this.now += Math.min(TICK_MS, end - this.now);
      this.client.tick(this.now);
    }
  }

  /** Answers a query as the server it went to. */
  reply(query: SentQuery, parts: ReplyParts = {}): boolean {
    const from = parts.from ?? query.to;
    return this.client.receive(replyBytes(query, parts), from.address, from.port, this.now);
  }

  /** Gets the client its token: asks by a probe, which is answered. */
  settle(token = 'T1'): void {
    this.ask('probe');
    this.reply(this.last, { strings: [`token=${token}`] });
    this.sent.length = 0;
  }

  push(name: string, peer: Peer, from: Destination, id = 77): boolean {
    const additionals = [
      {
        type: 'SRV' as const,
        name: `${name}.${DOMAIN}`,
        data: { port: peer.port, target: peer.host },
      },
    ];
    const bytes = encode({ type: 'query', id, additionals });
    return this.client.receive(bytes, from.address, from.port, this.now);
  }

  #read(bytes: Uint8Array, to: Destination): SentQuery {
    const message = decode(Buffer.from(bytes));
    const additionals = message.additionals ?? [];
    const txt = additionals.find((record) => record.type === 'TXT');
    const opt = additionals.find((record) => record.type === 'OPT');
    const option =
      opt?.type === 'OPT' ? opt.options.find((o) => Number(o.code) === COOKIE_OPTION) : null;
    const strings = txt?.type === 'TXT' ? ([txt.data].flat() as Buffer[]).map(String) : [];
    const cookie = option === null || option === undefined ? null : dataOf(option);
    return { message, id: message.id ?? 0, to, at: this.now, strings, cookie };
  }
}

function dataOf(option: object): Uint8Array {
  return 'data' in option ? Uint8Array.from(option.data as Buffer) : new Uint8Array();
}

/** The answer to a query: one TXT record of its name. */
export function replyBytes(query: SentQuery, parts: ReplyParts): Uint8Array {
  const name = parts.name ?? query.message.questions?.[0].name ?? '';
  const { strings, cookie, rcode = 0 } = parts;
  const opt =
    cookie === undefined
      ? []
      : [
          {
            type: 'OPT' as const,
            name: '.' as const,
            udpPayloadSize: 1232,
            extendedRcode: rcode >> 4,
            ednsVersion: 0,
            flags: 0,
            flag_do: false,
            options:
              cookie === null ? [] : [{ code: COOKIE_OPTION, data: Buffer.from(cookie) } as never],
          },
        ];
  return encode({
    type: 'response',
    id: parts.id ?? query.id,
    flags: (rcode & 15) | (parts.isTruncated ? TRUNCATED_RESPONSE : 0),
    questions: [{ type: 'TXT', name }],
    answers:
      strings === undefined
        ? []
        : [{ type: 'TXT', name, data: strings.map((s) => Buffer.from(s)) }],
    additionals: opt as never,
  });
}

/** `peers=` of IPv4 peers. */
export function peersString(...peers: readonly Peer[]): string {
  const bytes = Buffer.alloc(6 * peers.length);
  peers.forEach(({ host, port }, i) => {
    host.split('.').forEach((part, j) => {
      bytes[6 * i + j] = Number(part);
    });
    bytes.writeUInt16BE(port, 6 * i + 4);
  });
  return `peers=${bytes.toString('base64')}`;
}
