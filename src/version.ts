/** The version of this program and the address of its documentation, as its package.json says. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export function readVersion(): string {
  return readPackage().version
}

export function readHomepage(): string {
  return readPackage().homepage
}

/** Looks upwards for the file, because compiled code stands deeper in some folders than in others. */
function readPackage(): { version: string; homepage: string } {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json')) && folder !== dirname(folder)) folder = dirname(folder)
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
}
