/** One figure: what was measured, and how it compares with the same work done by another, in the same run. */
export interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** What it was compared with. */
  readonly against: string
  /** Ours divided by the other; null where there is nothing to compare with. */
  readonly ratio: number | null
}

/** What a row means. */
export interface Row {
  readonly about: string
  readonly better: 'lower' | 'higher'
}

/** A bench file: `rows` explains each figure by its name, and the default export measures them, one after another. */
export interface Bench {
  readonly rows: Readonly<Record<string, Row>>
  readonly default: () => AsyncIterable<Figure>
}
