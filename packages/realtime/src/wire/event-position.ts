/**
 * Where an event stands in its channel. Offsets count from 1, a new epoch means that the count began anew, and the tag
 * was drawn at random for this very event: it tells this history from another one that has reached the same offset
 * after Redis came back with older data.
 */
export interface EventPosition {
  readonly epoch: string
  readonly offset: number
  readonly tag: string
}
