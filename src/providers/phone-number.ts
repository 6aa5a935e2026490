/** The digits of an international number, without the `+` or `00` before the country code. */
export function normalizePhoneNumber(number: string): string {
  return number.replace(/\D/g, '').replace(/^0+/, '')
}
