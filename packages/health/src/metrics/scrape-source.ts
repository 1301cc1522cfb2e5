/** Milliseconds that one source of a scrape may take. Prometheus gives up on a whole scrape after 10 s. */
const sourceTime = 2_000

/** What a source that was not done in time is answered with. */
export const tooLate = Symbol('too late')

/** Something that a scrape waits for. */
export type ScrapeSource<Result> = () => Promise<Result | typeof tooLate>

/** Bounds the time of a source. One that is still running is waited for again instead of being started twice. */
export function createScrapeSource<Result>(run: () => Result | Promise<Result>): ScrapeSource<Result> {
  let running: Promise<Result> | undefined
  return async () => {
    running ??= Promise.resolve()
      .then(run)
      .finally(() => (running = undefined))
    const late = Promise.withResolvers<typeof tooLate>()
    const timer = setTimeout(() => late.resolve(tooLate), sourceTime)
    try {
      return await Promise.race([running, late.promise])
    } finally {
      clearTimeout(timer)
    }
  }
}
