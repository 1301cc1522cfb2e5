/** The oldest Node that runs Quintet. */
const oldestNode = 24

/** @throws Error in one line when this Node is too old, rather than where the first missing function is called. */
export function assertRuntime(version: string = process.versions.node): void {
  if (Number.parseInt(version, 10) >= oldestNode) return
  throw new Error(`Quintet needs Node ${oldestNode} or newer; this is ${version}.`)
}
