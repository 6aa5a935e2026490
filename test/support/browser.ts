/** A real browser for tests: Chromium as it is on this machine. */
import { type Browser, chromium } from 'playwright-core'
import { execute, findProgram } from './programs.ts'

export async function launchBrowser(moreArgs: readonly string[] = []): Promise<Browser> {
  const program = await findProgram(['chromium', 'chromium-browser', 'google-chrome'], 'chromium')
  if (!program) throw new Error('This needs a browser on this machine: install chromium.')
  const executablePath = (await execute('which', [program])).stdout.trim()
  const args = process.getuid?.() === 0 ? ['--no-sandbox', ...moreArgs] : [...moreArgs]
  return chromium.launch({ executablePath, args })
}
