import { z } from 'zod'

/** The small call that every stack answers: about 25 bytes in, about 210 out, both validated. */
export const AddInput = z.object({ a: z.number(), b: z.number() })
export const AddOutput = z.object({ sum: z.number(), text: z.string() })

const text = 'x'.repeat(180)

export function add({ a, b }: { readonly a: number; readonly b: number }): { sum: number; text: string } {
  return { sum: a + b, text }
}
