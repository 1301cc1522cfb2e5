import { isQuintetError } from '@quintet/core'

/** The code with which a promise is rejected, or `'resolved'`. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'resolved'
  } catch (error) {
    if (isQuintetError(error)) return error.code
    throw error
  }
}
