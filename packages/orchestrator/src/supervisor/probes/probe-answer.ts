/** What a probe has told of a process. */
export interface ProbeAnswer {
  readonly responsive: boolean
  readonly healthy: boolean
  readonly detail: string
}
