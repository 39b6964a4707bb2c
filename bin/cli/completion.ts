/** Scripts with which shells complete the names of commands. */
import type { Command } from './commands.ts';

const PROGRAM = 'edge-flag-relay';

type Completed = Pick<Command, 'name' | 'says' | 'verbs'>;

const namesOf = (commands: readonly Completed[]) => commands.map(({ name }) => name).join(' ');
const withVerbs = (commands: readonly Completed[]) =>
  commands.flatMap(({ name, verbs }) => (verbs === undefined ? [] : [{ name, verbs: verbs.join(' ') }]));

/** The same script serves zsh, which can run completions of bash. */
function bash(commands: readonly Completed[]): string {
  const cases = withVerbs(commands).map(({ name, verbs }) => `    ${name}) words="${verbs}" ;;`);
  return `_edge_flag_relay() {
  local words=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="${namesOf(commands)}"
  elif [ "$COMP_CWORD" -eq 2 ]; then
    case "\${COMP_WORDS[1]}" in
    help) words="${namesOf(commands)}" ;;
${cases.join('\n')}
    esac
  fi
  [ -n "$words" ] && COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _edge_flag_relay ${PROGRAM}
`;
}

function zsh(commands: readonly Completed[]): string {
  return `autoload -Uz bashcompinit && bashcompinit\n${bash(commands)}`;
}

function fish(commands: readonly Completed[]): string {
  const quoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const first = commands.map(
    ({ name, says }) => `complete -c ${PROGRAM} -n __fish_use_subcommand -f -a ${name} -d ${quoted(says)}`,
  );
  const second = [{ name: 'help', verbs: namesOf(commands) }, ...withVerbs(commands)].map(
    ({ name, verbs }) => `complete -c ${PROGRAM} -n '__fish_seen_subcommand_from ${name}' -f -a ${quoted(verbs)}`,
  );
  return `${[...first, ...second].join('\n')}\n`;
}

export const completions: Readonly<Record<string, (commands: readonly Completed[]) => string>> = { bash, zsh, fish };
