/**
 * The server inside a program (listening.ts): what `waypost serve` runs, with one lane inline, and
 * hooks in it by which the program hears of announces and traffic and reads what is stored.
 *
 *   appliance --announce--> Afterwards --> onPeer          the program's code never runs within the
 *             --tap-------> Afterwards --> traffic         server's: it may throw, or close it
 *             <--own records; the store is read in place
 */
import { DEFAULT_NAME_LIMIT } from '../../../workers/bounds.ts';
import { nameHash } from '../../../workers/create-lane.ts';
import type { Key } from '../../../workers/key.ts';
import type { LaneHooks } from '../../../workers/lane-hooks.ts';
import { OwnRecords } from '../../../workers/own-records.ts';
import { Rng } from '../../../workers/rng.ts';
import { SLOT_ADDRESS, SLOT_BYTES } from '../../../workers/slab.ts';
import { type Appliance, type ApplianceHooks, startAppliance } from '../../appliance.ts';
import type { House } from '../../lanes/house.ts';
import { CidrList } from '../../limits/cidr.ts';
import { formatAddress } from '../../net/ip-address.ts';
import { allAddresses } from '../../options/addresses.ts';
import { MAX_TTL_SECONDS } from '../../options/checks.ts';
import type { ApplianceConfig } from '../../options/config.ts';
import { limitsFrom } from '../../options/limits.ts';
import { secretUint32 } from '../../rng.ts';
import type { DatagramTap } from '../../tap.ts';
import type { NameJson, Peer } from '../types.ts';
import { Afterwards } from './afterwards.ts';
import { DnsTap } from './dns-tap.ts';
import type { ListeningAddress, ListeningConfig } from './listening.ts';
import { MachineAddress } from './machine-address.ts';
import { idText, StoredNames } from './stored-names.ts';

/**
 * Networks whose sources need no proof for as many answers as they like: loopback, private and
 * link-local ones. A server in a library is mostly one for its own network, which as a single
 * prefix would share the 200 replies a second. Forged sources of these do not come in from outside.
 */
const PRIVATE_NETWORKS =
  '127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,169.254.0.0/16,::1,fc00::/7,fe80::/10';

/** How one asks `listen()` for another port. */
const OTHER_PORT = 'listen(5300)';

/** Starts it; see Listening.start. */
export async function startEmbedded(config: ListeningConfig): Promise<EmbeddedServer> {
  const hooks = new Hooks(config);
  try {
    const appliance = await startAppliance(applianceConfig(config), config.clock, hooks);
    return new EmbeddedServer(config, appliance, hooks);
  } catch (error) {
    throw withCode(error);
  }
}

export class EmbeddedServer {
  readonly addresses: readonly ListeningAddress[];
  readonly own: OwnRecords;
  readonly #config: ListeningConfig;
  readonly #appliance: Appliance;
  readonly #stored: StoredNames;

  constructor(config: ListeningConfig, appliance: Appliance, { own, stored }: Hooks) {
    if (own === null || stored === null) throw new Error('the server has no lane');
    this.own = own;
    this.#config = config;
    this.#appliance = appliance;
    this.#stored = stored;
    this.addresses = appliance.listening.map(({ address, port, transport }) => ({
      address,
      port,
      transport,
    }));
  }

  peers(id: string): Peer[] {
    return this.#stored.peers(id, this.#now());
  }

  toJSON(): NameJson[] {
    return this.#stored.toJSON(this.own, this.#now());
  }

  close(): Promise<void> {
    return this.#appliance.close();
  }

  #now(): number {
    return Math.floor(this.#config.clock.now() / 1000);
  }
}

/** What is hung into the appliance, and what that brings with it. */
class Hooks implements ApplianceHooks {
  own: OwnRecords | null = null;
  stored: StoredNames | null = null;
  readonly #config: ListeningConfig;
  readonly #afterwards = new Afterwards();

  constructor(config: ListeningConfig) {
    this.#config = config;
  }

  lane({ hashKey, lanes, slab }: House): LaneHooks {
    const hash = nameHash(hashKey);
    const machine = new MachineAddress(this.#config.clock);
    const own = new OwnRecords(hash, this.#config.limit, (out) => machine.write(out));
    this.own = own;
    this.stored = new StoredNames(lanes[0].stores.records, hash, new Rng(secretUint32()));
    const onAnnounce = (key: Key, slot: number, port: number) => {
      const id = idText(key.bytes, key.end);
      const host = formatAddress(slab.bytes, slot * SLOT_BYTES + SLOT_ADDRESS);
      this.#afterwards.call(() => this.#config.onPeer(id, { port, host }));
    };
    return { onAnnounce, own };
  }

  tap({ slab, overflow }: House): DatagramTap {
    return new DnsTap(slab, overflow, this.#config.traffic, this.#afterwards);
  }
}

/** Strangers are bounded as by `waypost serve` with its defaults; private addresses are not. */
function applianceConfig(config: ListeningConfig): ApplianceConfig {
  const { limit, push, records, values } = config;
  return {
    dns: config.ports.flatMap(allAddresses),
    dht: null,
    dnsRequired: !config.isDefault,
    domains: [config.domain],
    nameserver: null,
    ttlSeconds: wholeTtl(config.ttlSeconds),
    limit,
    udpBackend: config.udpBackend,
    workers: 0,
    sendFrom: 'main',
    limits: {
      ...limitsFrom({}, {}, limit),
      rateLimitExempt: CidrList.parse(PRIVATE_NETWORKS),
      nameLimit: values ?? Math.max(limit, DEFAULT_NAME_LIMIT),
    },
    nsid: null,
    cookieSecrets: null,
    tokenSecret: null,
    notice: config.notice,
    embedded: {
      subscriptionTtlSeconds: wholeTtl(push.ttlSeconds),
      subscriptionLimit: push.limit,
      nameCount: records ?? null,
      otherPort: OTHER_PORT,
    },
  };
}

/** 0 stands for ever, as everywhere in the server. */
function wholeTtl(seconds: number): number {
  if (seconds === Number.POSITIVE_INFINITY || seconds <= 0) return 0;
  return Math.min(Math.ceil(seconds), MAX_TTL_SECONDS);
}

/** A listen error tells what to do; what programs look at is in its cause. */
function withCode(error: unknown): unknown {
  if (!(error instanceof Error) || !(error.cause instanceof Error)) return error;
  const { cause } = error;
  for (const field of ['code', 'errno', 'syscall', 'address', 'port'] as const) {
    if (field in cause) Object.assign(error, { [field]: Reflect.get(cause, field) });
  }
  return error;
}
