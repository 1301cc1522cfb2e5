/**
 * Calls a callback of the application. What it throws is reported as an uncaught error and keeps the client from
 * nothing.
 */
export function callBack(callback: () => void): void {
  try {
    callback()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
