import type { ProcessPhase } from './process-phase.ts'

/** What happens in a running ecosystem, as commands, consoles and tests see it. */
export type EcosystemEvent =
  /** Something that takes a while is being done. */
  | { readonly type: 'progress'; readonly message: string }
  | {
      readonly type: 'process'
      /** Milliseconds since the epoch. */
      readonly at: number
      readonly id: string
      readonly from: ProcessPhase
      readonly to: ProcessPhase
      readonly reason: string
      /** Milliseconds until the next start, in `backoff`. */
      readonly delay?: number
    }
  /** A new generation takes the place of the one that serves; `failed`: the old one goes on. */
  | {
      readonly type: 'reload'
      readonly id: string
      readonly state: 'begun' | 'done' | 'failed'
      readonly reason: string
    }
  /** Another plan was to take the place of the one that ran; `failed`: the one that ran goes on. */
  | { readonly type: 'apply'; readonly state: 'done' | 'failed'; readonly reason: string }
  /** A critical process is past its budget: its app fails, and everything with it when the app is critical. */
  | {
      readonly type: 'escalated'
      readonly id: string
      readonly level: 'app' | 'platform'
      readonly reason: string
    }
  /** A server that the ecosystem brings has ended or is back. */
  | {
      readonly type: 'server'
      readonly name: 'postgres' | 'redis'
      readonly state: 'ended' | 'ready'
      readonly reason: string
    }

/** An event with its time, in milliseconds since the epoch. */
export type RecordedEvent = EcosystemEvent & { readonly at: number }
