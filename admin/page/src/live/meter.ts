// Rates from two growing counters, sampled once a second.

/** recent is the number of seconds that a meter remembers, and that a shown rate is the mean of. */
const recent = 10;

export class Meter {
  /** Attempts and failures of each of the last seconds, oldest first. */
  private attempts: number[] = [];
  private failures: number[] = [];
  private last: { attempts: number; failures: number } | null = null;

  /** forget begins anew: nothing is known of the time until the next sample. */
  forget(): void {
    this.attempts = [];
    this.failures = [];
    this.last = null;
  }

  /** sample takes the counters at the end of a second; it reports whether what is shown may have changed. */
  sample(attempts: number, failures: number): boolean {
    const last = this.last;
    this.last = { attempts, failures };
    if (last === null) return false;
    // A counter that shrank began anew, or a proxy left: that second is unknown, and shown as none.
    const fresh = attempts < last.attempts || failures < last.failures;
    const before = this.attempts.length;
    const moved = this.busy();
    this.attempts.push(fresh ? 0 : attempts - last.attempts);
    this.failures.push(fresh ? 0 : failures - last.failures);
    if (this.attempts.length > recent) {
      this.attempts.shift();
      this.failures.shift();
    }
    return moved || this.busy() || before < 2;
  }

  private busy(): boolean {
    return this.attempts.some((n) => n > 0);
  }

  /** rate is attempts per second of late, or null if that is not known yet. */
  rate(): number | null {
    return this.attempts.length > 1 ? sum(this.attempts) / this.attempts.length : null;
  }

  /** errorRate is the share of the attempts of late that failed, null without attempts. */
  errorRate(): number | null {
    const attempts = sum(this.attempts);
    return attempts > 0 ? sum(this.failures) / attempts : null;
  }
}

function sum(of: number[]): number {
  return of.reduce((total, n) => total + n, 0);
}
