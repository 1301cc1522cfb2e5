/** Collects everything that is wrong with some options, so that their author sees all problems at once. */
export class Problems {
  readonly #lines: string[] = []

  get count(): number {
    return this.#lines.length
  }

  /** Notes one problem of the option at a path; an empty path is the whole. */
  note(path: string, problem: string): void {
    this.#lines.push(path === '' ? problem : `${path}: ${problem}`)
  }

  /** Notes what a parser throws as `TypeError`, whose message names the path itself. */
  attempt<Value>(parse: () => Value): Value | undefined {
    try {
      return parse()
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
      this.#lines.push(error.message)
      return undefined
    }
  }

  addAll(other: Problems): void {
    this.#lines.push(...other.#lines)
  }

  /**
   * @param title of several problems together, e.g. `The system "media" is not valid`.
   * @throws TypeError naming every problem that was noted, one a line.
   */
  throwIfAny(title?: string): void {
    if (this.#lines.length === 0) return
    const lines = title === undefined ? this.#lines : [`${title}:`, ...this.#lines.map((line) => `- ${line}`)]
    throw new TypeError(lines.join('\n'))
  }
}
