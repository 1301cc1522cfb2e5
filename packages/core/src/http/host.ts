const pattern = /^(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i

/** Whether a value of `Host` is one host with an optional port (RFC 9110, section 7.2). */
export function isHost(value: string): boolean {
  // The pattern also lets ports and addresses through that are none.
  return pattern.test(value) && URL.canParse(`http://${value}`)
}
