/**
 * What every app says of the gateway before it. What the gateway says of its clients is believed, so that limits by
 * address count the clients and not all of them as one; with a gateway on another machine, name its address here.
 * `QUINTET_PUBLIC_ORIGIN` is the origin under which clients know the gateway: proofs of possession must be for it.
 */
export const behindGateway: { readonly trustedProxies: readonly string[]; readonly origin?: string } = {
  trustedProxies: ['127.0.0.1', '::1'],
  ...(process.env['QUINTET_PUBLIC_ORIGIN'] && { origin: process.env['QUINTET_PUBLIC_ORIGIN'] }),
}

/** Whose pages may open a WebSocket: those that come through the gateway. Tokens are in headers, so it is one more lock. */
export const fromOwnPages: { readonly origins: readonly string[] } = {
  origins: process.env['QUINTET_PUBLIC_ORIGIN'] ? [process.env['QUINTET_PUBLIC_ORIGIN']] : [],
}

/** Who sees details under `/health` and `/metrics`: who brings the token that the supervisor gives to all apps. */
export const forOperators: { readonly operators?: { readonly token: string } } = {
  ...(process.env['QUINTET_OPERATOR_TOKEN'] && {
    operators: { token: process.env['QUINTET_OPERATOR_TOKEN'] },
  }),
}
