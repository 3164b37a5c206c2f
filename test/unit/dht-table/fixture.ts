/** Nodes, tables and a plain model of a routing table for the tests of the flat one. */
import { encodeAddress, hostToU32, u32ToHost } from '../../../codecs/dht/address.ts';
import { ADDRESS_BYTES, K } from '../../../codecs/dht/constants.ts';
import { nodeId } from '../../../codecs/dht/node-id.ts';
import { RoutingTable } from '../../../workers/dht/routing-table.ts';
import type { AddOutcome } from '../../../workers/dht/table-writer.ts';
import { TableWriter } from '../../../workers/dht/table-writer.ts';
import type { Rng } from '../../../workers/rng.ts';

export interface Tables {
  readonly buffer: SharedArrayBuffer;
  readonly writer: TableWriter;
  readonly reader: RoutingTable;
}

export function makeTables(isPrivate: boolean, rows = 64): Tables {
  const buffer = RoutingTable.allocate(rows);
  const writer = new TableWriter(buffer, { isPrivate });
  return { buffer, writer, reader: new RoutingTable(buffer) };
}

/** 10.0.0.0 and on. */
export function privateHost(n: number): string {
  return u32ToHost(0x0a00_0000 + n);
}

/** A public address, whatever `n`: a.b of 20.1 to 20.250, then two bytes. */
export function publicHost(n: number): string {
  return u32ToHost(((20 << 24) | ((1 + (n % 250)) << 16) | ((n >>> 8) & 0xffff)) >>> 0);
}

/** The port that goes with a host in the tests of readers: bytes of two nodes do not match. */
export function portOf(host: string): number {
  return ((Math.imul(hostToU32(host), 0x9e3779b1) >>> 16) | 1) & 0xffff;
}

export function randomId(rng: Rng): Uint8Array {
  return Uint8Array.from({ length: 32 }, () => rng.below(256));
}

/** What writeClosest wrote, as texts. */
export function closestOf(reader: RoutingTable, target: Uint8Array, most: number): string[] {
  const out = new Uint8Array(most * ADDRESS_BYTES + 2).fill(0xee);
  const count = reader.writeClosest(target, 0, most, out, 1);
  return Array.from({ length: count }, (_, i) => {
    const at = 1 + i * ADDRESS_BYTES;
    const host = u32ToHost(new DataView(out.buffer).getUint32(at));
    return `${host}:${out[at + 4] | (out[at + 5] << 8)}`;
  });
}

/** The 16 bytes a slot has of an IPv4 address. */
export function mapped(host: string): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.fill(0xff, 10, 12);
  bytes.set(encodeAddress({ host, port: 0 }).subarray(0, 4), 12);
  return bytes;
}

export interface ModelNode {
  readonly id: Uint8Array;
  readonly host: string;
  readonly port: number;
  added: number;
  pinged: number;
  seen: number;
  downHints: number;
}

/** A routing table as one would write it with objects. */
export class TableModel {
  nodes: ModelNode[] = [];
  own: Uint8Array = new Uint8Array(32);

  bucket(id: Uint8Array): number {
    for (let bit = 0; bit < 256; bit++) {
      const mask = 0x80 >> (bit & 7);
      if (((this.own[bit >> 3] ^ id[bit >> 3]) & mask) !== 0) return bit;
    }
    return 255;
  }

  members(bucket: number): ModelNode[] {
    return this.nodes
      .filter((node) => this.bucket(node.id) === bucket)
      .sort((a, b) => Buffer.compare(a.id, b.id));
  }

  get(id: Uint8Array): ModelNode | null {
    return this.nodes.find((node) => Buffer.compare(node.id, id) === 0) ?? null;
  }

  add(host: string, port: number, tick: number): AddOutcome {
    const id = nodeId(host, port);
    if (Buffer.compare(id, this.own) === 0) return 'self';
    if (this.get(id) !== null) return 'known';
    if (this.members(this.bucket(id)).length === K) return 'full';
    this.nodes.push({ id, host, port, added: tick, pinged: tick, seen: tick, downHints: 0 });
    return 'added';
  }

  remove(id: Uint8Array): boolean {
    const index = this.nodes.findIndex((node) => Buffer.compare(node.id, id) === 0);
    if (index >= 0) this.nodes.splice(index, 1);
    return index >= 0;
  }

  closest(target: Uint8Array, count: number): ModelNode[] {
    const bucket = this.bucket(target);
    const found: ModelNode[] = [];
    for (let i = bucket; i >= 0; i--) found.push(...this.members(i));
    for (let i = bucket + 1; i < 256; i++) found.push(...this.members(i));
    return found.slice(0, count);
  }

  all(): ModelNode[] {
    return Array.from({ length: 256 }, (_, bucket) => this.members(bucket)).flat();
  }
}

export function textOf(node: { host: string; port: number }): string {
  return `${node.host}:${node.port}`;
}
