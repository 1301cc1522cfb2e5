/** How far a gateway is on its way to its end. */
export interface StopState {
  /** Not ready any more, and no connection is kept. */
  stopping: boolean
  /** Accepts nothing new. */
  draining: boolean
}
