/**
 * Where the gateway is that stands before the apps: what it says of its clients is believed. Limits by address count the
 * clients then, and not all of them as one. With a gateway on another machine, name its address here.
 */
export const trustedProxies: readonly string[] = ['127.0.0.1', '::1']
