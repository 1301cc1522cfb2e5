/** The part of a rate limiter that the gateway needs. `@quintet/redis` makes one that all instances share. */
export interface RateLimiter {
  consume(key: string): Promise<RateLimitDecision> | RateLimitDecision
}

export interface RateLimitDecision {
  readonly allowed: boolean
  /** Milliseconds until the next request can be allowed. */
  readonly retryAfter: number
}
