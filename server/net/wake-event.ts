/**
 * Waking the main thread, whose sleep is its event loop: an eventfd that lives on the loop beside
 * the sockets. A signal costs the sender one system call and never waits; a lane therefore sends
 * one only to a sleeper (workers/ring.ts).
 *
 *   main thread                                    worker thread
 *   WakeEvent.open(), onWake(callback)  -- fd -->  new WakeSignal(fd), signal()
 *
 * Each has a descriptor of its own of the one event, so whichever thread ends first, the other's
 * stays what it was; a thread that is killed closes its own.
 */
import { loadAddon, type UdpAddon } from './native/addon.ts';

/** The sleeper's end. */
export class WakeEvent {
  /** The descriptor, for `WakeSignal` in other threads; theirs to use while this event is open. */
  readonly fd: number;
  readonly #addon: UdpAddon;
  readonly #handle: number;
  #callback: (() => void) | null = null;
  #closed = false;

  private constructor(addon: UdpAddon) {
    this.#addon = addon;
    this.#handle = addon.eventOpen();
    this.fd = addon.eventDescriptor(this.#handle);
  }

  /**
   * A new event, or null where there is no addon. Throws the system's error (`code`, such as
   * EMFILE, and `syscall`).
   */
  static open(): WakeEvent | null {
    const { addon } = loadAddon();
    return addon === null ? null : new WakeEvent(addon);
  }

  /**
   * Calls `callback` once in each turn of the event loop in which signals arrived, however many,
   * with those that came before this call. A later callback takes the place of an earlier one. The
   * event does not keep the process alive.
   */
  onWake(callback: () => void): void {
    if (this.#closed) throw new Error('the wake event is closed');
    if (this.#callback === null) this.#addon.watch(this.#handle, () => this.#callback?.());
    this.#callback = callback;
  }

  /** No call comes after this; signals then go nowhere. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#callback = null;
    this.#addon.close(this.#handle);
  }
}

/** The waker's end, one for each thread that wakes. */
export class WakeSignal {
  readonly #addon: UdpAddon;
  readonly #handle: number;
  #closed = false;

  /** On the `fd` of an open WakeEvent. Throws an Error when there is no addon or no such event. */
  constructor(fd: number) {
    const loaded = loadAddon();
    if (loaded.addon === null) throw new Error(`waking by descriptor: ${loaded.reason}`);
    this.#addon = loaded.addon;
    this.#handle = loaded.addon.eventDuplicate(fd);
  }

  /** Wakes the sleeper, or does nothing when closed. */
  signal(): void {
    if (!this.#closed) this.#addon.eventSignal(this.#handle);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#addon.close(this.#handle);
  }
}
