import type { Principal } from './principal.ts'

/** What a surface found on a call, before anybody has verified it. */
export type Credentials =
  | { readonly scheme: 'none' }
  | { readonly scheme: 'bearer'; readonly token: string }
  | {
      /** RFC 9449: the token with the proof of possession for this method and URL. */
      readonly scheme: 'dpop'
      readonly token: string
      readonly proof: string
      readonly method: string
      readonly url: string
    }
  | {
      /**
       * A principal that the surface itself has verified: the signed envelope of a job, or a sibling
       * process on an authenticated link. Never built from a client's input.
       */
      readonly scheme: 'attested'
      readonly principal: Principal
      readonly by: 'envelope' | 'link' | 'in-process'
    }

export const noCredentials: Credentials = Object.freeze({ scheme: 'none' })
