/** The longest delay that a timer of Node or a browser can hold, in milliseconds (24.8 days); with a longer one it fires at once. */
export const longestTimer = 2_147_483_647

/**
 * Calls back once what has already arrived has been read. After a pause of the process itself (a suspended laptop, a
 * long garbage collection) timers are due before the answers that came meanwhile have been looked at.
 */
export const afterReads: (run: () => void) => void =
  typeof setImmediate === 'function' ? setImmediate : (run) => void setTimeout(run)
