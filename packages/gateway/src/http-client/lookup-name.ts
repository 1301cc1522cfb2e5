import { lookup as lookupInDns, type LookupAddress, type LookupAllOptions } from 'node:dns'
import { closeSync, openSync } from 'node:fs'
import { devNull } from 'node:os'
import type { LookupFunction } from 'node:net'

/** For how long the last addresses of a name are used that is said not to exist. */
const vanishedMs = 60_000

/**
 * Looks up the addresses of a name, and goes on with the last ones while it cannot be looked up (serve-stale, RFC 8767):
 * without limit while DNS fails, and for a minute where it says that the name does not exist, which is also what a
 * resolver says that cannot open its files. Where this process has no descriptor left, the error says that.
 */
export function createLookup(lookup: typeof lookupInDns = lookupInDns): LookupFunction {
  let last: { readonly addresses: LookupAddress[]; readonly at: number } | undefined
  return (name, options, callback) => {
    const all: LookupAllOptions = { ...options, all: true }
    const answer = (addresses: LookupAddress[]): void => {
      const [first] = addresses
      if (options.all) callback(null, addresses)
      else callback(null, first?.address ?? '', first?.family)
    }
    lookup(name, all, (error, addresses) => {
      if (!error) {
        last = { addresses, at: performance.now() }
        answer(addresses)
        return
      }
      const vanished = error.code === 'ENOTFOUND'
      if (last && (!vanished || performance.now() - last.at < vanishedMs)) answer(last.addresses)
      else callback(shortageOfDescriptors() ?? error, '')
    })
  }
}

/** The error that this process meets when it opens anything, if it has no descriptor left. */
function shortageOfDescriptors(): NodeJS.ErrnoException | undefined {
  try {
    closeSync(openSync(devNull, 'r'))
    return undefined
  } catch (error) {
    return error as NodeJS.ErrnoException
  }
}
