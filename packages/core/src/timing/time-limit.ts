import type { Clock } from '../clock.ts'

/** Something that has a limited time; it stands in the list of its {@link TimeLimit}. */
export interface Timed {
  /** On the monotonic clock. */
  dueAt: number
  earlier: Timed | undefined
  later: Timed | undefined
  /** Is called once the time is over, by then out of the list. */
  onDue: () => void
}

/**
 * Ends whatever has run for a certain time, with one timer for all of it: a timer for each of many short calls
 * costs more than most calls do.
 *
 * What has the same time is due in the order in which it came, so the timer is always that of the first. It keeps the
 * process alive only while something is in the list.
 */
export class TimeLimit {
  readonly #duration: number
  readonly #clock: Clock
  #first: Timed | undefined
  #last: Timed | undefined
  #timer: NodeJS.Timeout | undefined

  /** @param duration milliseconds; at most what Node's timers can hold. */
  constructor(duration: number, clock: Clock) {
    this.#duration = duration
    this.#clock = clock
  }

  /** @param startedAt when its time began, on the monotonic clock; not before that of the one added last. */
  add(timed: Timed, startedAt: number): void {
    timed.dueAt = startedAt + this.#duration
    timed.earlier = this.#last
    if (this.#last !== undefined) this.#last.later = timed
    else {
      this.#first = timed
      if (this.#timer === undefined) this.#wait(this.#duration)
      else this.#timer.ref()
    }
    this.#last = timed
  }

  /** Takes out what was added and is not due yet. */
  delete(timed: Timed): void {
    const { earlier, later } = timed
    if (earlier === undefined) this.#first = later
    else earlier.later = later
    if (later === undefined) this.#last = earlier
    else later.earlier = earlier
    timed.earlier = timed.later = undefined
    // The timer goes on for the calls to come, which spares each of them one of its own.
    if (this.#first === undefined) this.#timer?.unref()
  }

  #wait(milliseconds: number): void {
    this.#timer = setTimeout(() => this.#end(), milliseconds)
  }

  #end(): void {
    this.#timer = undefined
    const now = this.#clock.monotonic()
    // Node's timers count whole milliseconds and may be early by less than one.
    while (this.#first !== undefined && this.#first.dueAt - now < 1) {
      const due = this.#first
      this.delete(due)
      due.onDue()
    }
    if (this.#first !== undefined && this.#timer === undefined) this.#wait(this.#first.dueAt - now)
  }
}
