import { type CallOptions, isQuintetError } from '@quintet/core/client'
import { eventIdOf } from './event-id.ts'

/** How often a broken stream is taken up again without an event in between. */
const maxResumes = 5
const firstDelay = 200

/**
 * Iterates over a stream and, when its connection breaks, takes it up again after the last event, where
 * the events have ids. One whose events have none ends with the error.
 */
export async function* resumeStream(
  open: (lastEventId: string | undefined) => AsyncIterable<unknown>,
  call: CallOptions,
): AsyncGenerator<unknown, void, undefined> {
  let lastEventId = call.lastEventId
  let resumes = 0
  for (;;) {
    try {
      for await (const event of open(lastEventId)) {
        lastEventId = eventIdOf(event) ?? lastEventId
        resumes = 0
        yield event
      }
      return
    } catch (error) {
      if (!isResumable(error) || lastEventId === undefined || resumes >= maxResumes) throw error
    }
    await delay(firstDelay * 2 ** resumes++ * (0.5 + Math.random()), call.signal)
  }
}

function isResumable(error: unknown): boolean {
  return isQuintetError(error) && (error.kind === 'closed' || error.kind === 'unavailable')
}

/** @throws the signal's reason when it aborts. */
export function delay(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      clearTimeout(timer)
      reject(signal?.reason as Error)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', leave)
      resolve()
    }, ms)
    if (signal?.aborted === true) leave()
    else signal?.addEventListener('abort', leave, { once: true })
  })
}
