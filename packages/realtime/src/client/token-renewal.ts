import type { TokenSource } from './client-options.ts'

/** The share of a token's life that is left when it is renewed, and the most of it in milliseconds. */
const leadShare = 0.2
const longestLead = 60_000
const longestTimer = 2_147_483_647

export type Renewed = 'renewed' | 'refused' | 'none'

export interface TokenRenewal {
  /** Renews in time for a token that expires in so many milliseconds. */
  expiresIn(milliseconds: number): void
  /** Renews now; `none` where the source has no other token. */
  renewNow(): Promise<Renewed>
  stop(): void
}

/** Renews the token of a standing connection before it expires. */
export function createTokenRenewal(
  source: TokenSource,
  current: () => string | undefined,
  renew: (token: string) => Promise<void>,
): TokenRenewal {
  let timer: ReturnType<typeof setTimeout> | undefined
  let running: Promise<Renewed> | undefined

  async function run(): Promise<Renewed> {
    try {
      const token = await source()
      if (token === undefined || token === current()) return 'none'
      await renew(token)
      return 'renewed'
    } catch {
      return 'refused'
    } finally {
      running = undefined
    }
  }

  const renewNow = (): Promise<Renewed> => (running ??= run())

  function schedule(left: number, lead: number): void {
    clearTimeout(timer)
    const endsAt = performance.now() + left
    timer = setTimeout(
      () => {
        void renewNow().then((renewed) => {
          const rest = endsAt - performance.now()
          // The source has no new token yet. The answer of the server to one has set the time anew.
          if (renewed !== 'renewed' && rest > 0 && timer !== undefined) schedule(rest, rest * (1 - leadShare))
        })
      },
      Math.min(longestTimer, Math.max(0, left - lead)),
    )
  }

  return {
    expiresIn(left) {
      schedule(left, Math.min(longestLead, left * leadShare))
    },
    renewNow,
    stop() {
      clearTimeout(timer)
      timer = undefined
    },
  }
}
