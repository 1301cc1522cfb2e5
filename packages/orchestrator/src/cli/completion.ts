import { Argument, type Command } from 'commander'

/** The words that may stand after a command, by the command: subcommands and options. */
type Words = readonly { readonly path: string; readonly words: readonly string[] }[]

const scripts: Readonly<Record<string, (words: Words) => string>> = { bash, zsh, fish }

/** `quintet completion <shell>`: prints a script that completes commands and options. */
export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .description('print a script that completes commands: source <(quintet completion bash)')
    .addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(scripts)))
    .action((shell: string) => {
      process.stdout.write(scripts[shell]?.(wordsOf(program)) ?? '')
    })
}

function wordsOf(command: Command, before: readonly string[] = []): Words {
  const visible = command.createHelp().visibleCommands(command)
  const options = command.options.flatMap(({ short, long }) => [short, long]).filter((each) => each != null)
  const own = { path: before.join(' '), words: [...visible.map((each) => each.name()), ...options] }
  const below = visible
    .filter((each) => command.commands.includes(each))
    .flatMap((each) => wordsOf(each, [...before, each.name()]))
  return [own, ...below]
}

function bash(words: Words): string {
  // Behind a command also its arguments stand; a subcommand is looked for before the command.
  const cases = words
    .toSorted((a, b) => b.path.length - a.path.length)
    .map(({ path, words: each }) => {
      const pattern = path === '' ? `''` : `'${path}'|'${path} '*`
      return `    ${pattern}) words='${each.join(' ')}' ;;`
    })
  return `_quintet() {
  local path='' word words=''
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in -*) ;; *) path="\${path:+$path }$word" ;; esac
  done
  case $path in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _quintet quintet
`
}

function zsh(words: Words): string {
  return `autoload -Uz bashcompinit && bashcompinit\n${bash(words)}`
}

function fish(words: Words): string {
  const lines = words.map(({ path, words: each }) => {
    const test =
      path === '' ? '__fish_use_subcommand' : `string match -q -- "quintet ${path}*" (commandline -p)`
    return `complete -c quintet -f -n '${test}' -a '${each.join(' ')}'`
  })
  return `${lines.join('\n')}\n`
}
