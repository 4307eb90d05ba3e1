// Runs recorded as graphs, by what they depend on: one call replays all of a run's launches.
import type { Device } from './device.ts';

/** The one used longest ago goes first. */
const MOST_GRAPHS = 32;

export class Recordings {
  readonly #device: Device;
  /** Null: seen once, not recorded yet. */
  readonly #graphs = new Map<string, number | null>();

  constructor(device: Device) {
    this.#device = device;
  }

  /** Does what `act` launches, by a recording of it: at once where it will come again for sure, else from the second time on. */
  perform(key: string, comesAgain: boolean, act: () => void): void {
    const known = this.#graphs.get(key);
    this.#graphs.delete(key);
    const graph = known ?? (known === null || comesAgain ? this.#device.capture(act) : null);
    this.#graphs.set(key, graph);
    if (graph === null) act();
    else this.#device.launchGraph(graph);
    for (const [oldest, executable] of this.#graphs) {
      if (this.#graphs.size <= MOST_GRAPHS) break;
      this.#graphs.delete(oldest);
      if (executable !== null) this.#device.destroyGraph(executable);
    }
  }

  dispose(): void {
    for (const graph of this.#graphs.values()) if (graph !== null) this.#device.destroyGraph(graph);
    this.#graphs.clear();
  }
}
