import type { AccessRule } from '../access/access-rule.ts'

/** The kinds of ways in. One conformance suite runs against each. */
export type Surface = 'rpc' | 'route' | 'message' | 'link' | 'job'

/** One way in, as the pipeline sees it: its name, and who may use it. */
export interface Operation {
  readonly surface: Surface
  /** `objects.list`, `GET /render/image/*`, `channel:notices`, `job:make-thumbnail`. */
  readonly name: string
  readonly access: AccessRule
  /** Read the session on every call even where the auth manager is in tracked mode. */
  readonly freshness: 'strict' | undefined
  /** How long a call may take, in milliseconds; 0 for no limit of its own. */
  readonly timeout: number
}
