import type { HealthReport, StopReason } from '@quintet/core'

/** What a process tells its supervisor. */
export type ProcessMessage =
  | { readonly type: 'hello'; readonly token: string }
  /** It takes calls; where, by transport. */
  | { readonly type: 'ready'; readonly urls: Readonly<Record<string, string>> }
  /** It has started and takes no calls until it is told to; where it can be probed, by transport. */
  | { readonly type: 'standby'; readonly urls: Readonly<Record<string, string>> }
  /** It stops, whoever has told it to: it takes no calls any more, and ends. */
  | { readonly type: 'stopping' }
  | { readonly type: 'report'; readonly probe: number; readonly report: HealthReport }
  | {
      readonly type: 'start-failed'
      readonly problem: string
      /** Another try would end the same way. */
      readonly permanent: boolean
    }

/** What a supervisor tells a process. */
export type SupervisorMessage =
  | { readonly type: 'probe'; readonly probe: number }
  /** Its standby ends. */
  | { readonly type: 'take-over' }
  /** Another generation has taken over: it ends by itself when its clients have gone to that one. */
  | { readonly type: 'give-way' }
  /** The SIGTERM that follows comes for this reason. */
  | { readonly type: 'stopping'; readonly reason: StopReason }

/** How a process finds its supervisor. */
export const controlVariables = { socket: 'QUINTET_CONTROL', token: 'QUINTET_CONTROL_TOKEN' } as const

/** The path that the private sockets of a process begin with which is to stand by. */
export const standbyVariable = 'QUINTET_STANDBY'

/** How a process finds its siblings: the folder of their sockets, and the secret that they share. */
export const linkVariables = { directory: 'QUINTET_LINKS', secret: 'QUINTET_LINKS_SECRET' } as const
