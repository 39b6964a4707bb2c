/** Controls, formats, separators of lines and halves of pairs, as Unicode classes them. */
const MOVES_TERMINALS = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/**
 * Without characters that move a terminal's cursor, begin lines, turn the direction of writing or cannot be seen: what others send is in
 * messages. In JSON these are only within strings, and stay what they are when it is parsed.
 */
export function escaped(text: string): string {
  return text.replace(MOVES_TERMINALS, (char) => char.split('').map(escapedUnit).join(''));
}

function escapedUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
