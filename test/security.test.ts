/** The page on security, held against the files and tests that it names; and the packages that an installation brings. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import packageJson from '../package.json' with { type: 'json' }

const root = fileURLToPath(new URL('..', import.meta.url))
const textOf = (path: string) => readFileSync(join(root, path), 'utf8')

const page = textOf('docs/security.md')
const sectionOf = (title: string) => page.split(/^## /m).find((section) => section.startsWith(`${title}\n`)) ?? ''

interface Requirement {
  name: string
  files: string[]
  tests: { path: string; title: string | undefined }[]
}

function requirementsOf(text: string): Requirement[] {
  return [...text.matchAll(/^\| (\d[^|]*?) \| [^|]* \|([^|]*)\|([^|]*)\|$/gm)].map(
    ([, name = '', kept = '', shown = '']) => ({
      name,
      files: [...kept.matchAll(/`([^`]+)`/g)].map(([, path = '']) => path),
      tests: [...shown.matchAll(/`([^`]+)`(?: "([^"]+)")?/g)].map(([, path = '', title]) => ({ path, title })),
    }),
  )
}

const requirements = requirementsOf(sectionOf('OWASP ASVS, level 2'))

describe('the requirements', () => {
  it('are read', () => {
    expect(requirements.length).toBeGreaterThan(30)
  })

  it.each(requirements)('$name is kept in files and shown by tests that are there', ({ name, files, tests }) => {
    const isUnused = /WebRTC/.test(name)
    expect([files.length > 0, tests.length > 0]).toEqual([!isUnused, !isUnused])
    for (const path of files) expect([path, existsSync(join(root, path))]).toEqual([path, true])
    for (const { path, title } of tests) {
      expect(path).toMatch(/^test\//)
      expect([path, existsSync(join(root, path))]).toEqual([path, true])
      if (title !== undefined) expect(textOf(path), `${path} "${title}"`).toContain(title)
    }
  })
})

interface LockedPackage {
  license?: string
  dev?: boolean
  optional?: boolean
  link?: boolean
  hasInstallScript?: boolean
}

const locked = Object.entries(JSON.parse(textOf('package-lock.json')).packages as Record<string, LockedPackage>)
  .filter(([path, { link }]) => path.includes('node_modules/') && !link)
  .map(([path, one]) => ({ name: path.replace(/^.*node_modules\//, ''), ...one }))

describe('the packages of an installation', () => {
  const namedIn = (text: string) => new Set([...text.matchAll(/`([^`]+)`/g)].map(([, name]) => name))
  const [licences = '', scripts = ''] = sectionOf('Dependencies').split('No package needs a script')

  it('have one of the licences on the page, and the page names no others', () => {
    const rows = licences.split('\n').filter((line) => line.startsWith('| `'))
    const found = locked.filter(({ dev }) => !dev).map(({ license }) => license ?? 'none')
    expect(found.length).toBeGreaterThan(100)
    expect([...new Set(found)].sort()).toEqual([...namedIn(rows.join('\n'))].sort())
  })

  it('need no script when they are installed, and each that has one is explained', () => {
    const withScript = locked.filter(({ hasInstallScript }) => hasInstallScript)
    const names = [...new Set(withScript.map(({ name }) => name))].sort()
    expect(Object.keys(packageJson.allowScripts).sort()).toEqual(names)
    expect(withScript.filter(({ dev, optional }) => !dev && !optional)).toEqual([])
    const rows = scripts.split('\n').filter((line) => line.startsWith('| `'))
    expect([...namedIn(rows.map((row) => row.split('|')[1]).join())].sort()).toEqual(names)
  })
})
