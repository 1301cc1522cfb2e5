import { styleText } from 'node:util'

export type Color = 'green' | 'yellow' | 'red' | 'gray' | 'cyan'

/** Colours text where the terminal shows colours. */
export function paint(color: Color, text: string): string {
  return styleText(color, text)
}
