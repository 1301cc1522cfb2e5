import { type CallOptions, delay, isQuintetError } from '@quintet/core/client'

/** How often a broken stream is taken up again without a new event in between. */
const maxResumes = 5
const firstDelay = 200
/** So many ids are remembered to tell an event that is new from one that is repeated. */
const rememberedIds = 1_024

/** An event of a stream as it arrives. */
export interface StreamItem {
  readonly event: unknown
  /** The id after which the server can go on; undefined where it cannot. */
  readonly id: string | undefined
}

/**
 * Iterates over a stream and, when its connection breaks, takes it up again after the last event, where the server has
 * said that it can. One that cannot be resumed ends with the error.
 *
 * @param begun the stream, if it has been opened already.
 */
export async function* resumeStream(
  open: (lastEventId: string | undefined) => AsyncIterable<StreamItem>,
  call: CallOptions,
  begun?: AsyncIterable<StreamItem>,
): AsyncGenerator<unknown, void, undefined> {
  let lastEventId = call.lastEventId
  let items = begun ?? open(lastEventId)
  // A caller who names an event knows that the stream can go on after it.
  let resumable = lastEventId !== undefined
  let resumes = 0
  const seen = new RecentIds()
  for (;;) {
    try {
      for await (const { event, id } of items) {
        if (id !== undefined) {
          resumable = true
          lastEventId = id
          if (seen.add(id)) resumes = 0
        }
        yield event
      }
      return
    } catch (error) {
      if (!resumable || !isResumable(error) || resumes >= maxResumes) throw error
    }
    await delay(firstDelay * 2 ** resumes++ * (0.5 + Math.random()), call.signal)
    items = open(lastEventId)
  }
}

/** Whether another connection may help. What could not be read would be the same again. */
function isResumable(error: unknown): boolean {
  if (!isQuintetError(error)) return false
  if (error.code === 'ERR_SERVER_RESPONSE_INVALID' && error.cause !== undefined) return false
  return error.kind === 'closed' || error.kind === 'unavailable'
}

class RecentIds {
  readonly #ids = new Set<string>()

  /** Whether the id is a new one. */
  add(id: string): boolean {
    if (this.#ids.has(id)) return false
    this.#ids.add(id)
    if (this.#ids.size > rememberedIds) {
      const [oldest = id] = this.#ids
      this.#ids.delete(oldest)
    }
    return true
  }
}
