import { parseSync } from 'oxc-parser'

/** A block of TypeScript that a README or a doc comment shows. */
export interface Example {
  /** The file that shows it, from the root of the repository, and the first line of its code. */
  readonly file: string
  readonly line: number
  readonly code: string
  /** The file that the block is, when its first line says so, such as `src/main.ts`. */
  readonly path?: string
  /** Whether it leaves out what it stands on: an `@example` does, and a block of a README without an import. */
  readonly isExcerpt: boolean
  /** What it prints, when the README shows that in a block of text right behind it. */
  readonly prints?: string
  /** The export whose doc comment shows it. */
  readonly subject?: string
}

const readmeBlock = /^```ts\n([\s\S]*?)\n```$(?:\n+```text\n([\s\S]*?\n)```$)?/gm

/** The TypeScript blocks of a Markdown page. */
export function markdownExamples(file: string, text: string): readonly Example[] {
  return [...text.matchAll(readmeBlock)].map((match) => {
    const [, code = '', prints] = match
    const path = /^\/\/ (\S+\.ts)\n/.exec(code)?.[1]
    return {
      file,
      line: lineAt(text, match.index) + 1,
      code,
      isExcerpt: !/^import /m.test(code),
      ...(path === undefined ? {} : { path }),
      ...(prints === undefined ? {} : { prints }),
    }
  })
}

/** The `@example` tags of the doc comments of a module. */
export function commentExamples(file: string, text: string): readonly Example[] {
  const { program, comments } = parseSync(file, text)
  const declarations = program.body.filter((node) => node.type === 'ExportNamedDeclaration')
  return comments
    .filter(({ type, value }) => type === 'Block' && value.startsWith('*'))
    .flatMap((comment) => {
      const following = declarations.find(
        ({ start, end }) => start >= comment.end || (start < comment.start && end > comment.end),
      )
      const subject = following && declaredName(following)
      return exampleTags(comment.value).map(({ offset, code }) => ({
        file,
        line: lineAt(text, comment.start + '/*'.length + offset),
        code,
        isExcerpt: true,
        ...(subject === undefined ? {} : { subject }),
      }))
    })
}

/** The code behind each `@example`, up to the next tag, and where it begins in the comment. */
function exampleTags(comment: string): readonly { offset: number; code: string }[] {
  return [...comment.matchAll(/@example\n([\s\S]*?)(?=\n\s*\* @|\n\s*$)/g)].map((match) => ({
    offset: match.index + '@example\n'.length,
    code: (match[1] ?? '')
      .split('\n')
      .map((line) => line.replace(/^\s*\* ?/, ''))
      .filter((line) => !line.startsWith('```'))
      .join('\n'),
  }))
}

type Export = Extract<
  ReturnType<typeof parseSync>['program']['body'][number],
  { type: 'ExportNamedDeclaration' }
>

function declaredName({ declaration }: Export): string | undefined {
  if (declaration === null) return undefined
  if (declaration.type === 'VariableDeclaration') {
    const id = declaration.declarations[0]?.id
    return id?.type === 'Identifier' ? id.name : undefined
  }
  return 'id' in declaration && declaration.id?.type === 'Identifier' ? declaration.id.name : undefined
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length
}
