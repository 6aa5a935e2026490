/**
 * The text of somebody else, made fit to be kept and shown: phone numbers are cut to their last two digits, and so is
 * everything else that may be one, as an ID of seven digits or more.
 */

/** Digits of any script, with up to three of the signs that people write within a number. */
const NUMBER = /\+?\p{Nd}(?:[\s()./\u00a0-]{0,3}\p{Nd}){6,}/gu
/** A number that a cut has shortened may be too short to be recognised. */
const CUT_NUMBER = /[+\p{Nd}\s()./-]+$/u
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/g

/** The beginning of a text, up to `most` characters; `isCut` says that there was more of it already. */
export function maskedStart(text: string, most: number, isCut = false): string {
  const whole = isCut ? text.replace(CUT_NUMBER, '') : text
  const masked = whole.replace(CONTROL, '\ufffd').replace(NUMBER, (number) => `…${[...number].slice(-2).join('')}`)
  const characters = [...masked.trim()]
  return characters.length > most || isCut ? `${characters.slice(0, most).join('')}…` : characters.join('')
}
