import { randomUUID } from 'node:crypto'
import type { Query } from './create-query.ts'

/** How long a search past the events of tenants that have their share is put off, as a multiple of what the last one took. */
const searchPause = 4
/** Events in memory for each place; those behind the first of a key wait for it. */
const eventsPerPlace = 4

export interface EventRow {
  readonly id: string
  readonly position: string
  readonly topic: string
  readonly key: string
  readonly tenant_id: string | null
  readonly user_id: string | null
  readonly payload: unknown
  readonly traceparent: string | null
  readonly created_at: Date
  readonly attempts: number
  readonly outage_since: Date | null
}

/** The first events of one key of a tenant, in order. While the claim is held, this relay alone delivers that key. */
export interface Claim {
  readonly rows: readonly EventRow[]
  /** Aborts when the claim may have run out, and then for good: another relay may have taken the key. */
  readonly lost: AbortSignal
  /** Loses the claim when its time is over; false once it was lost. */
  isHeld(): boolean
}

/** The claims of one relay. Each holds one of its places until it is forgotten. */
export interface Claims {
  /** Marks the rows of one relay. */
  readonly relayId: string
  readonly size: number
  /** Claims as many keys as there are places for. */
  claim(): Promise<readonly Claim[]>
  forget(claims: readonly Claim[]): void
  stopRenewing(): void
}

interface OwnClaim extends Claim {
  readonly head: string
  renewed(at: Moment): void
  lose(): void
}

export interface ClaimLimits {
  readonly places: number
  /** How long a claim lasts without being renewed, in milliseconds. */
  readonly claimDuration: number
}

export function createClaims(
  query: Query,
  { places, claimDuration }: ClaimLimits,
  onTrouble: (error: unknown) => void,
): Claims {
  const relayId = randomUUID()
  /** By tenant and key; also those that were lost and are still in delivery. */
  const claims = new Map<string, OwnClaim>()
  let renewing = false
  let searchAt = 0

  const renew = async (): Promise<void> => {
    const held = [...claims.values()].filter((each) => each.isHeld())
    if (held.length === 0 || renewing) return
    renewing = true
    const askedAt = moment()
    try {
      const { rows } = await query(
        `update outbox set claimed_until = clock_timestamp() + make_interval(secs => $3)
         where id = any($1::uuid[]) and claimed_by = $2 and claimed_until > clock_timestamp() returning id`,
        [held.map(({ head }) => head), relayId, claimDuration / 1_000],
      )
      const renewed = new Set(rows.map((row) => (row as { id: string }).id))
      for (const claim of held) {
        if (renewed.has(claim.head)) claim.renewed(askedAt)
        else claim.lose()
      }
    } catch (error) {
      onTrouble(error)
    } finally {
      renewing = false
    }
  }
  const timer = setInterval(() => void renew(), claimDuration / 4)
  timer.unref()

  return {
    relayId,
    get size() {
      return claims.size
    },
    async claim() {
      const room = places - claims.size
      if (room < 1) return []
      const inMemory = [...claims.values()].reduce((sum, { rows }) => sum + rows.length, 0)
      // A lost claim holds its key back here for as long as its delivery goes on.
      const busy = [...claims.values()].filter((each) => !each.isHeld()).map(({ rows: [first] }) => first)
      const held = [...Map.groupBy(claims.values(), ({ rows: [first] }) => first?.tenant_id ?? '')].map(
        ([tenant, own]) => ({ tenant, places: own.length }),
      )
      // It reads all that waits of the tenants that have their share, which may be much.
      const searches = held.some(({ places: own }) => own >= room)
      if (searches && performance.now() < searchAt) return []
      const askedAt = moment()
      const { rows } = await query('select * from outbox_claim($1, $2, $3, $4, $5, $6, $7, $8)', [
        room,
        Math.min(places, Math.max(0, places * eventsPerPlace - inMemory)),
        relayId,
        claimDuration / 1_000,
        busy.map((row) => row?.tenant_id ?? ''),
        busy.map((row) => row?.key ?? ''),
        held.map(({ tenant }) => tenant),
        held.map(({ places: own }) => own),
      ])
      if (searches) searchAt = performance.now() + searchPause * elapsed(askedAt)
      const found = (rows as EventRow[]).toSorted((a, b) => Number(BigInt(a.position) - BigInt(b.position)))
      const made: Claim[] = []
      for (const [key, group] of Map.groupBy(found, keyOf)) {
        // The claim of a delivery that goes on ran out while this query was under way: the new one runs out too.
        if (claims.has(key)) continue
        const claim = createClaim(group, askedAt, claimDuration)
        claims.set(key, claim)
        made.push(claim)
      }
      return made
    },
    forget(gone) {
      for (const { rows } of gone) claims.delete(keyOf(rows[0] as EventRow))
    },
    stopRenewing: () => clearInterval(timer),
  }
}

function createClaim(rows: readonly EventRow[], claimedAt: Moment, duration: number): OwnClaim {
  const losing = new AbortController()
  let renewedAt = claimedAt
  return {
    rows,
    head: rows[0]?.id ?? '',
    lost: losing.signal,
    isHeld() {
      if (!losing.signal.aborted && elapsed(renewedAt) >= (duration * 3) / 4) this.lose()
      return !losing.signal.aborted
    },
    renewed(at) {
      renewedAt = at
    },
    lose: () => losing.abort(new DOMException('The claim on the key was lost.', 'AbortError')),
  }
}

/** A moment on both clocks: the steady one stands still while a machine sleeps, the other one can be set. */
type Moment = readonly [steady: number, wall: number]

const moment = (): Moment => [performance.now(), Date.now()]

function elapsed([steady, wall]: Moment): number {
  return Math.max(performance.now() - steady, Date.now() - wall)
}

/** Keys of different tenants never meet. */
function keyOf({ tenant_id: tenantId, key }: EventRow): string {
  return JSON.stringify([tenantId, key])
}
