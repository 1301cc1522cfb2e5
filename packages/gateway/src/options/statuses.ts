import type { Statuses } from '@quintet/core/http'

/** The HTTP status of an error where that of its kind says too little (RFC 9110, section 15). */
export const statuses: Statuses = Object.freeze({
  ERR_GATEWAY_HEADERS_TOO_LARGE: 431,
  ERR_GATEWAY_REQUEST_TIMEOUT: 408,
  ERR_GATEWAY_UPSTREAM_FAILED: 502,
  ERR_GATEWAY_UPSTREAM_UNREACHABLE: 502,
})
