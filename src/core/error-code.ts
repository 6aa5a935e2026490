/**
 * The code by which Node, its libraries and servers tell errors apart, like `ECONNREFUSED` or a SQLSTATE; undefined for an
 * error without one.
 */
export function errorCodeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
