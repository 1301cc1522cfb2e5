import { option, readOptions } from '@quintet/core/kit'

/** For adapters whose requests do not say where they come from. */
export interface PeerAddressOptions<Request> {
  /** Tells the address of the other end of the connection, as the runtime has it. Needed for `trustedProxies`. */
  readonly address?: (request: Request) => string | undefined
}

/** Reads the option; without it nothing is known of any address. @throws TypeError where `trustedProxies` needs it. */
export function readPeerAddress<Request>(
  address: PeerAddressOptions<Request>['address'],
  trustedProxies: readonly string[] | undefined,
  path: string,
): (request: Request) => string | undefined {
  const spec = { address: option.function<(request: Request) => string | undefined>(() => undefined) }
  const read = readOptions<PeerAddressOptions<Request>, typeof spec>(
    address === undefined ? {} : { address },
    spec,
    path,
  )
  if (address === undefined && trustedProxies !== undefined && trustedProxies.length > 0) {
    throw new TypeError(
      `${path}.trustedProxies: needs "address" beside it, which tells where a request comes from.`,
    )
  }
  return read.address
}
