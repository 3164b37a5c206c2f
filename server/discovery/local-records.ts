/** What this instance has announced itself, to be told over multicast. */

const MAX_PORT = 65_535;

/** A-Z to a-z and nothing else: how DNS compares names (RFC 4343). */
export function foldCase(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

interface LocalName {
  /** As first given. */
  readonly id: string;
  /** The last one announced comes last. */
  readonly ports: Set<number>;
}

/**
 * Names and their ports, `limit` ports in all; beyond, the port is dropped whose name has not been
 * announced for the longest time. Ids are kept as given and found whatever their ASCII case.
 */
export class LocalRecords {
  readonly #limit: number;
  /** By folded id; the name announced last comes last. */
  readonly #names = new Map<string, LocalName>();
  #count = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Port 0 stands for one that only servers see: there is nothing to tell, and nothing is kept. */
  add(id: string, port: number): void {
    if (!Number.isInteger(port) || port < 1 || port > MAX_PORT) return;
    const key = foldCase(id);
    const name = this.#names.get(key) ?? { id, ports: new Set<number>() };
    if (!name.ports.delete(port)) {
      if (this.#count >= this.#limit) this.#evict();
      this.#count++;
    }
    name.ports.add(port);
    this.#names.delete(key);
    this.#names.set(key, name);
  }

  remove(id: string, port: number): void {
    const key = foldCase(id);
    const name = this.#names.get(key);
    if (name === undefined || !name.ports.delete(port)) return;
    this.#count--;
    if (name.ports.size === 0) this.#names.delete(key);
  }

  /** The ports of a name, oldest first; empty when there are none. */
  ports(id: string): readonly number[] {
    const name = this.#names.get(foldCase(id));
    return name === undefined ? [] : [...name.ports];
  }

  /** All names with their ports, those not announced for the longest time first. */
  *names(): Iterable<[string, readonly number[]]> {
    for (const { id, ports } of this.#names.values()) yield [id, [...ports]];
  }

  #evict(): void {
    for (const [key, { ports }] of this.#names) {
      for (const port of ports) {
        ports.delete(port);
        this.#count--;
        if (ports.size === 0) this.#names.delete(key);
        return;
      }
    }
  }
}
