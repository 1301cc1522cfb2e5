import { defaultSecurityHeaders, resolveSecurityHeaders, type SecurityHeaders } from '@quintet/core/http'
import { option, type Option } from '@quintet/core/kit'

/** What every answer through a gateway carries: nothing to sniff, nothing to refer from, nothing to frame. */
export const gatewaySecurityHeaders: Readonly<Record<string, string>> = Object.freeze({
  ...defaultSecurityHeaders,
  'x-frame-options': 'DENY',
})

/** What says where an answer ends is the gateway's to write. */
const framing: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** How the option `securityHeaders` is read: as flat name and value pairs. */
export const securityHeadersOption: Option<readonly string[]> = option
  .parsed('headers by name', (given, path) => {
    if (given !== false && (typeof given !== 'object' || given === null || Array.isArray(given)))
      throw new TypeError(`${path}: must be headers by name, or false.`)
    const headers = resolveSecurityHeaders(given as SecurityHeaders, gatewaySecurityHeaders, path)
    const wrong = headers.find((name, index) => index % 2 === 0 && framing.has(name))
    if (wrong !== undefined)
      throw new TypeError(`${path}: "${wrong}" says where an answer ends, and is written anew.`)
    return headers
  })
  .or(resolveSecurityHeaders(undefined, gatewaySecurityHeaders, 'securityHeaders'))
