import { currentInvocation } from '../pipeline/current-invocation.ts'
import { QuintetError } from '../errors.ts'
import { nearestKey } from '../options/known-keys.ts'
import type { Lifecycle } from '../lifecycle/lifecycle.ts'
import type { BinaryClientLink, Links } from '../transport/link.ts'
import { systemPrincipal } from '../access/principal.ts'

export interface SiblingOptions {
  readonly system: string
  readonly process: string
  /** The siblings that the topology lets this process call. */
  readonly access: readonly string[]
  readonly links: Links | undefined
  readonly lifecycle: Lifecycle
}

/**
 * Makes the function that connects to siblings. Each sibling has one link, closed with the lifecycle. A call that
 * is made while handling another one carries its principal, client, request id and trace; any other is made as the process
 * itself.
 */
export function createSiblings(options: SiblingOptions): (sibling: string) => BinaryClientLink {
  const { system, process, access, links, lifecycle } = options
  const own = { principal: systemPrincipal(`${system}/${process}`) }
  const connected = new Map<string, BinaryClientLink>()
  return (sibling) => {
    const existing = connected.get(sibling)
    if (existing !== undefined) return existing
    if (!access.includes(sibling)) {
      const nearest = nearestKey(sibling, access)
      throw new TypeError(
        `"${process}" may not call "${sibling}". ${nearest ? `Did you mean "${nearest}"?` : `Add it to topology.access of "${process}".`}`,
      )
    }
    if (links === undefined) {
      throw new QuintetError(`"${sibling}" cannot be reached: this process was started without links.`, {
        code: 'ERR_CORE_UNAVAILABLE',
        kind: 'unavailable',
      })
    }
    const link = lifecycle.use(links.connect(sibling, () => currentInvocation() ?? own))
    connected.set(sibling, link)
    return link
  }
}
