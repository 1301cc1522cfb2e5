import type { ProcessIdentity } from '../processes/process-identity.ts'

/** A server that was started by one that is gone, and goes on. */
export interface HeldServer {
  readonly identity: ProcessIdentity
  readonly port: number
  /** As its kind of server says it. */
  readonly source: string
}
