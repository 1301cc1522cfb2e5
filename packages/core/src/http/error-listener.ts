/** Receives errors that no caller was told of. It may be asynchronous; what it gives back is not used. */
export type ErrorListener = (error: unknown) => unknown

/**
 * A listener of errors that cannot fail: what it throws, and what it rejects with later, goes to `console.error` beside
 * the error that it was given.
 */
export function safeErrorListener(listener: ErrorListener): (error: unknown) => void {
  return (error) => {
    const failed = (failure: unknown): void => console.error('onError has failed', failure, 'for', error)
    try {
      Promise.resolve(listener(error)).catch(failed)
    } catch (failure) {
      failed(failure)
    }
  }
}
