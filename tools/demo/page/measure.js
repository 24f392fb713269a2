// Measure the time for each frame, the frames a second, and the memory.

const SMOOTHING = 0.2; // weight of the latest frame
const EVERY = 250; // milliseconds between updates of the figures
const PAGE_EVERY = 10_000; // milliseconds between measurements of the page's memory, which are slow

export class Measure {
  /** Milliseconds per frame, one for each model. */
  times = [];
  /** `{tensors, bytes}` of the first model's library, or null. */
  memory = null;
  /** Bytes of the whole page with its workers, or 0 if the browser does not report them. */
  page = 0;

  #ends = [];
  #shown = 0;
  #asked = -PAGE_EVERY;

  add(milliseconds, memory) {
    const smoothed = (value, k) => value + (1 - SMOOTHING) * ((this.times[k] ?? value) - value);
    this.times = milliseconds.map(smoothed);
    this.memory = memory;
    const now = performance.now();
    this.#ends = [...this.#ends.filter((end) => now - end < 2000), now];
    if (memory === null && now - this.#asked > PAGE_EVERY && performance.measureUserAgentSpecificMemory) {
      this.#asked = now;
      performance.measureUserAgentSpecificMemory().then(({ bytes }) => (this.page = bytes), () => {});
    }
  }

  get fps() {
    const [first, last] = [this.#ends[0], this.#ends.at(-1)];
    return last > first ? (1000 * (this.#ends.length - 1)) / (last - first) : 0;
  }

  /** Return whether to update the figures now: no more often than one can read. */
  due() {
    const now = performance.now();
    const due = now - this.#shown > EVERY;
    this.#shown = due ? now : this.#shown;
    return due;
  }

  clear() {
    this.times = [];
    this.#ends = [];
    this.#shown = 0;
  }
}
