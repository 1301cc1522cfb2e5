/** What stands in the place of an argument. */
const mark = '…'

/** With what a server repeats the arguments of a command that it does not know, up to the end of its line. */
const echoed = /,? with args beginning with:.*/

/** Arguments of so many characters and more are found anywhere, shorter ones as whole words, and the shortest in quotes. */
const long = 8
const short = 3

/**
 * The reply of a server without the arguments of the command, which may be secrets: whole, cut off, in quotes, or as a
 * number that is written in another way. The word with which the reply begins stays.
 */
export function withoutArguments(reply: string, args: readonly string[]): string {
  const [code = ''] = /^[A-Z]+(?= |$)/.exec(reply) ?? []
  // As the server writes them.
  const texts = args.map((text) => text.replaceAll(/\s+/g, ' ').trim()).filter((text) => text !== '')
  const rest = texts
    .toSorted((a, b) => b.length - a.length)
    .reduce(withoutArgument, reply.slice(code.length).replace(echoed, ''))
  return code + withoutNumbers(withoutQuoted(rest, texts), new Set(args.map(Number)))
}

function withoutArgument(text: string, argument: string): string {
  if (argument.length >= long) return withoutBeginning(text, argument)
  if (argument.length < short) return text
  const word = argument.replaceAll(/[^\w]/g, String.raw`\$&`)
  return text.replaceAll(new RegExp(String.raw`(?<!\w)${word}(?!\w)`, 'g'), mark)
}

/** Servers cut long arguments off. */
function withoutBeginning(text: string, argument: string): string {
  const at = text.indexOf(argument.slice(0, long))
  if (at === -1) return text
  let length = long
  while (length < argument.length && text[at + length] === argument[length]) length++
  return text.slice(0, at) + mark + withoutBeginning(text.slice(at + length), argument)
}

/** A part of an argument, such as the word of a script at which it fails. */
function withoutQuoted(text: string, args: readonly string[]): string {
  return text.replaceAll(/(?<!\w)(['"`])(.+?)\1/g, (all, quote: string, quoted: string) =>
    args.some((argument) => argument.includes(quoted)) ? quote + mark + quote : all,
  )
}

function withoutNumbers(text: string, numbers: ReadonlySet<number>): string {
  return text.replaceAll(/(?<!\w)-?(?:\d+\.\d+|\d{3,})(?!\w)/g, (number) =>
    numbers.has(Number(number)) ? mark : number,
  )
}
