/** The part of a rate limiter that the gateway needs. `@quintet/redis` makes one that all instances share. */
export interface RateLimiter {
  consume(key: string): Promise<RateLimitDecision> | RateLimitDecision
}

export interface RateLimitDecision {
  readonly allowed: boolean
  /** Milliseconds until the next request can be allowed. */
  readonly retryAfter: number
  /** Headers of the answer that tell the client its limits, such as those of `rateLimitHeaders` of `@quintet/redis`. */
  readonly headers?: Readonly<Record<string, string>>
}
