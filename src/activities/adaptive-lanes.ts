/**
 * So many at once as are fastest: after each round it compares how many were done in a second with the round before,
 * takes a step further where it was better, and turns round where it was not. What the best number is depends on the
 * server (an embedded one does one statement after the other), on ZooKeeper, and on who else uses them, so it is found
 * out all the time.
 */
export class AdaptiveLanes {
  private running = 0;
  private readonly waiting: (() => void)[] = [];
  private step = 1;
  private done = 0;
  private rate = 0;
  private roundAt: number | null = null;

  constructor(
    private size: number,
    private readonly max: number,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.size = Math.max(1, Math.min(size, max));
  }

  get width(): number {
    return this.size;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    while (this.running >= this.size) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.roundAt ??= this.now();
    this.running++;
    try {
      return await work();
    } finally {
      this.running--;
      this.count();
      for (const next of this.waiting.splice(0, this.size - this.running)) next();
    }
  }

  private count(): void {
    // Several times round each lane, so that one slow table is not taken for a slow server.
    if (++this.done < this.size * ROUNDS) {
      // Idle: what comes next begins a round of its own.
      if (this.running === 0 && this.waiting.length === 0) this.begin(null);
      return;
    }
    const now = this.now();
    const rate = this.done / Math.max(1, now - (this.roundAt ?? now));
    if (rate < this.rate * (1 + GAIN)) this.step = -this.step;
    this.rate = rate;
    this.size = Math.max(1, Math.min(this.max, this.size + this.step * Math.max(1, Math.round(this.size / 4))));
    this.begin(now);
  }

  private begin(at: number | null): void {
    this.done = 0;
    this.roundAt = at;
  }
}

const ROUNDS = 4;
/** Less is no gain but chance. */
const GAIN = 0.03;
