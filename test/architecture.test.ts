/**
 * The structure of the source, as rules. Imports go one way:
 *
 *   core ← providers, db ← what lies between them and the jobs ← jobs, http ← runtime ← cli
 *   core ← client ← cli, index
 *
 * Each rule is a function over the files that answers with what breaks it, so that every rule is also shown to catch
 * something.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

/** Source texts by their path below `src`, as in `core/settle.ts`. */
type Sources = ReadonlyMap<string, string>

const LAYERS = [
  'core',
  'deadline',
  'proxy',
  'urls',
  'providers',
  'db',
  'config',
  'log',
  'between',
  'queues',
  'jobs',
  'http',
  'client',
  'transaction',
] as const
type Layer = (typeof LAYERS)[number] | 'runtime' | 'sandbox' | 'cli' | 'index'

/** The layers that the files of a layer may import. `queues` is `jobs/queues.ts`, the only door to the jobs. */
const MAY_IMPORT: Readonly<Record<Layer, readonly Layer[]>> = {
  core: ['core'],
  deadline: [],
  proxy: [],
  urls: ['core', 'urls'],
  providers: ['core', 'deadline', 'proxy', 'providers'],
  db: ['core', 'urls', 'db'],
  config: ['core', 'proxy', 'urls', 'providers', 'config'],
  log: ['core'],
  between: ['core', 'deadline', 'providers', 'db', 'log', 'between'],
  client: ['core', 'deadline', 'client'],
  transaction: ['core', 'providers', 'db', 'between', 'client'],
  queues: ['core', 'providers', 'db', 'config', 'log', 'between', 'jobs'],
  jobs: ['core', 'deadline', 'proxy', 'urls', 'providers', 'db', 'config', 'log', 'between', 'jobs', 'queues'],
  // The pages are a client of the API, and read its answers by the client's types.
  http: ['core', 'client', 'deadline', 'providers', 'db', 'config', 'log', 'between', 'http', 'queues'],
  runtime: [...LAYERS, 'runtime'],
  index: ['client', 'transaction'],
  sandbox: ['core', 'sandbox'],
  cli: [...LAYERS, 'runtime', 'sandbox', 'cli'],
}

const MOST_LINES = 300
const MADE_BY_A_GENERATOR = 'client/schemas.ts'

function layerOf(path: string): Layer {
  const name = path.split('/')[0]?.replace(/\.tsx?$/, '') ?? ''
  if (path === 'jobs/queues.ts') return 'queues'
  // A folder that is not named here lies between the parts below and the jobs, like the files directly in `src`.
  return name in MAY_IMPORT && name !== 'queues' ? (name as Layer) : 'between'
}

/** The text without comments; strings keep theirs, since a URL holds two slashes. */
function withoutComments(text: string): string {
  const stringOrComment = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\/[^\n]*|\/\*[\s\S]*?\*\//g
  return text.replace(stringOrComment, (match) => (match.startsWith('/') ? '' : match))
}

const IMPORT =
  /\b(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\s*\(\s*['"]([^'"]+)['"]|\bimport\s*['"]([^'"]+)['"]/g

function importsOf(text: string): string[] {
  return [...withoutComments(text).matchAll(IMPORT)].map(([, from, dynamic, bare]) => from ?? dynamic ?? bare ?? '')
}

/** The files of `src` that a file imports. */
function filesImportedBy(path: string, text: string): string[] {
  return importsOf(text)
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => posix.join(posix.dirname(path), specifier))
}

function breaksArrows(sources: Sources): string[] {
  return [...sources].flatMap(([path, text]) =>
    filesImportedBy(path, text)
      .filter((imported) => !MAY_IMPORT[layerOf(path)].includes(layerOf(imported)))
      .map((imported) => `${path} imports ${imported}`),
  )
}

function importsNoFile(sources: Sources): string[] {
  return [...sources].flatMap(([path, text]) =>
    filesImportedBy(path, text)
      .filter((imported) => !sources.has(imported))
      .map((imported) => `${path} imports ${imported}`),
  )
}

function findCycles(sources: Sources): string[] {
  const cycles: string[] = []
  const done = new Set<string>()
  const visit = (path: string, trail: string[]): void => {
    if (trail.includes(path)) cycles.push([...trail.slice(trail.indexOf(path)), path].join(' → '))
    if (trail.includes(path) || done.has(path)) return
    for (const imported of filesImportedBy(path, sources.get(path) ?? '')) visit(imported, [...trail, path])
    done.add(path)
  }
  for (const path of sources.keys()) visit(path, [])
  return cycles
}

/** The lines of code, comments left out, in which `pattern` occurs in the files that `concerned` selects. */
function findCode(sources: Sources, pattern: RegExp, concerned: (layer: Layer) => boolean): string[] {
  return [...sources]
    .filter(([path]) => concerned(layerOf(path)))
    .flatMap(([path, text]) =>
      withoutComments(text)
        .split('\n')
        .filter((line) => pattern.test(line))
        .map((line) => `${path}: ${line.trim()}`),
    )
}

const readsEnvironment = (sources: Sources) =>
  findCode(sources, /\bprocess\b(\?\.|\.|\[['"]|.*\{.*\b)env\b|['"](node:)?process['"]/, (layer) => layer !== 'config')

const printsOutsideCli = (sources: Sources) => findCode(sources, /\bconsole\b\s*[.[]/, (layer) => layer !== 'cli')

/** Packages, and words that only some runtimes know. */
const NOT_EVERYWHERE = /\bfrom '[^.]|\bimport '[^.]|\bimport\(|\brequire\b|\bprocess\b|\bBuffer\b|\bsetImmediate\b/

const needsARuntime = (sources: Sources) =>
  findCode(sources, NOT_EVERYWHERE, (layer) => MAY_IMPORT.client.includes(layer))

const IMPURE =
  /\bDate\.now\b|\bnew Date\(\s*\)|\bDate\(\s*\)|\bperformance\b|\bMath\.random\b|\bcrypto\b|\bprocess\b|\bglobalThis\b|\bfetch\(|\b(set|clear)(Timeout|Interval|Immediate)\b|\bTemporal\.Now\b|\bfrom '[^.]|\bimport '|\bimport\(|\brequire\b|\bawait\b/

const hasEffectsInCore = (sources: Sources) => findCode(sources, IMPURE, (layer) => layer === 'core')

function findBarrels(sources: Sources): string[] {
  return [...sources]
    .filter(([path]) => path !== 'index.ts' && path !== 'client/index.ts')
    .filter(
      ([path, text]) =>
        posix.basename(path) === 'index.ts' || /\bexport\b[^'"`;=(]*?\bfrom\s*['"]/.test(withoutComments(text)),
    )
    .map(([path]) => path)
}

function findLongFiles(sources: Sources): string[] {
  return [...sources]
    .filter(([path]) => path !== MADE_BY_A_GENERATOR)
    .map(([path, text]) => ({ path, lines: text.trimEnd().split('\n').length }))
    .filter(({ lines }) => lines > MOST_LINES)
    .map(({ path, lines }) => `${path}: ${lines} lines`)
}

const COMMENT =
  /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|((?:^[ \t]*\/\/[^\n]*\n)+|\/\/[^\n]*|\/\*[\s\S]*?\*\/)/gm

/** The comments of a file, each as one line without its marks; strings are none. */
function commentsOf(text: string): string[] {
  return [...text.matchAll(COMMENT)].flatMap(([, comment]) =>
    comment === undefined
      ? []
      : [
          comment
            .replace(/^\s*(?:\/\/|\/\*\*?|\*\/?)|\*\/$/gm, '')
            .replace(/\s+/g, ' ')
            .trim(),
        ],
  )
}

/** A sentence names its subject first, so none opens with a word that stands for it. */
function opensWithoutSubject(sources: Sources): string[] {
  return [...sources].flatMap(([path, text]) =>
    commentsOf(text).flatMap((comment) =>
      [...comment.matchAll(/(?:^|[.!?:] )(?:What|Whatever|Who|Whoever|Those)\b.{0,40}/g)].map(
        ([sentence]) => `${path}: ${sentence}`,
      ),
    ),
  )
}

const SRC = join(dirname(fileURLToPath(import.meta.url)), '..', 'src')
const TEST = join(SRC, '..', 'test')

function readSources(folder: string): Sources {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => /\.tsx?$/.test(path) && !/(^|\/)(dist|node_modules)\//.test(path))
  return new Map(paths.map((path) => [path, readFileSync(join(folder, path), 'utf8')]))
}

const sources = readSources(SRC)

const rules: [string, (sources: Sources) => string[], Record<string, string>[]][] = [
  [
    'imports go one way',
    breaksArrows,
    [
      { 'core/a.ts': "import { b } from '../providers/b.ts'" },
      { 'core/a.ts': "import type { B } from '../config.ts'" },
      { 'providers/a.ts': "import { b } from '../db/b.ts'" },
      { 'db/a.ts': "import {\n  b,\n  c,\n} from '../providers/b.ts'" },
      { 'db/a.ts': "const { b } = await import('../jobs/queues.ts')" },
      { 'tracking.ts': "import { b } from './jobs/queues.ts'" },
      { 'tracking.ts': "import { b } from './http/b.ts'" },
      { 'http/a.ts': "import { b } from '../jobs/dispatch.ts'" },
      { 'http/deep/a.ts': "import { b } from '../../jobs/dispatch.ts'" },
      { 'jobs/a.ts': "import { b } from '../http/b.ts'" },
      { 'jobs/queues.ts': "import '../runtime.ts'" },
      { 'runtime.ts': "import { b } from './cli.ts'" },
      { 'runtime.ts': "import { b } from './sandbox/server.ts'" },
      { 'index.ts': "export { b } from './sandbox/server.ts'" },
      { 'jobs/a.ts': "import { b } from '../sandbox/server.ts'" },
      { 'sandbox/a.ts': "import { b } from '../providers/seven/seven.ts'" },
      { 'config.ts': "import { b } from './db/client.ts'" },
      { 'client/a.ts': "import type { B } from '../tracking.ts'" },
      { 'jobs/a.ts': "import type { B } from '../client/b.ts'" },
    ],
  ],
  [
    'imports lead to files of src',
    importsNoFile,
    [
      { 'core/a.ts': "import { b } from './b.ts'" },
      { 'core/a.ts': "import { b } from './b'", 'core/b.ts': '' },
      { 'core/a.ts': "import { b } from '../../test/b.ts'" },
    ],
  ],
  [
    'imports form no cycle',
    findCycles,
    [
      { 'core/a.ts': "import { a } from './a.ts'" },
      { 'core/a.ts': "import { b } from './b.ts'", 'core/b.ts': "import type { A } from './a.ts'" },
      {
        'a.ts': "import { b } from './b.ts'",
        'b.ts': "import './db/c.ts'",
        'db/c.ts': "export const a = () => import('../a.ts')",
      },
    ],
  ],
  [
    'only config.ts reads the environment',
    readsEnvironment,
    [
      { 'db/a.ts': 'const url = process.env.DATABASE_URL' },
      { 'db/a.ts': "const url = process['env'].DATABASE_URL" },
      { 'runtime.ts': "import { env } from 'node:process'" },
      { 'cli.ts': 'start(process.env)' },
    ],
  ],
  [
    'the core has no input, output, clock or randomness',
    hasEffectsInCore,
    [
      { 'core/a.ts': 'const now = Date.now()' },
      { 'core/a.ts': 'const now = new Date()' },
      { 'core/a.ts': 'const random = Math.random()' },
      { 'core/a.ts': 'const id = crypto.randomUUID()' },
      { 'core/a.ts': "import { readFileSync } from 'node:fs'" },
      { 'core/a.ts': "import { z } from 'zod'" },
      { 'core/a.ts': 'setTimeout(() => {}, 5)' },
      { 'core/a.ts': "await fetch('https://example.com')" },
    ],
  ],
  [
    'the client runs wherever there is fetch',
    needsARuntime,
    [
      { 'client/a.ts': "import { setTimeout } from 'node:timers/promises'" },
      { 'client/a.ts': "import type { Pool } from 'undici'" },
      { 'client/a.ts': 'const text = Buffer.from(bytes)' },
      { 'deadline.ts': 'process.nextTick(run)' },
    ],
  ],
  [
    'only the command line prints',
    printsOutsideCli,
    [
      { 'db/a.ts': "console.log('here')" },
      { 'runtime.ts': 'console.error(error)' },
      { 'core/a.ts': 'console.table([])' },
    ],
  ],
  [
    'no file re-exports another but index.ts, the door of a package',
    findBarrels,
    [
      { 'core/index.ts': 'export const a = 1' },
      { 'client/deep/index.ts': 'export const a = 1' },
      { 'core/a.ts': "export * from './b.ts'" },
      { 'core/a.ts': "export {\n  b,\n} from './b.ts'" },
      { 'core/a.ts': "export type { B } from './b.ts'" },
    ],
  ],
  [
    `no file has more than ${MOST_LINES} lines`,
    findLongFiles,
    [{ 'core/a.ts': `${'const a = 1\n'.repeat(MOST_LINES + 1)}` }],
  ],
  [
    'sentences of comments name their subject first',
    opensWithoutSubject,
    [
      { 'core/a.ts': '/** What a report says. */' },
      { 'core/a.ts': 'const a = 1 // Whoever reads this' },
      { 'core/a.ts': '/**\n * A report. Those\n * without a time come last.\n */' },
      { 'core/a.ts': '// A report of one message.\n// Who sent it is not known.\n' },
      { 'core/a.ts': '/** The rule: What is final stays. */' },
    ],
  ],
]

describe('the structure of the source', () => {
  it('is read whole', () => {
    const read = [...sources.keys()]
    expect(read).toEqual(
      expect.arrayContaining(['config.ts', 'core/settle.ts', 'providers/seven/seven.ts', 'index.ts']),
    )
    const imported = read.flatMap((path) => filesImportedBy(path, sources.get(path) ?? ''))
    expect(imported).toEqual(expect.arrayContaining(['core/status.ts', 'core/errors.ts', 'providers/seven/seven.ts']))
  })

  it.each(rules)('%s', (_, rule) => {
    expect(rule(sources)).toEqual([])
  })

  it('goes for the comments of the tests, too', () => {
    expect(opensWithoutSubject(readSources(TEST))).toEqual([])
  })
})

describe('the rules', () => {
  const faulty = rules.flatMap(([name, rule, trees]) => trees.map((tree) => [name, tree, rule] as const))

  it.each(faulty)('%s: %j is caught', (_, tree, rule) => {
    expect(rule(new Map(Object.entries(tree)))).toHaveLength(1)
  })

  it('let through what is right', () => {
    const right: Sources = new Map([
      [
        'core/b.ts',
        "export const b = '// What stands in a string'\n// A comment says what it means, and who reads it.\n",
      ],
      ['core/a.ts', '/** Neither Date.now() nor process.env. */\nexport const at = new Date(0) // not new Date()\n'],
      [
        'providers/b.ts',
        "import { at } from '../core/a.ts'\nexport const url = 'https://example.com' /* console.log */\n",
      ],
      ['db/c.ts', "import { at } from '../core/a.ts'\nexport const c = at\n"],
      ['jobs/queues.ts', "import { c } from '../db/c.ts'\nexport const d = c\n"],
      ['jobs/e.ts', "import { d } from './queues.ts'\nimport { url } from '../providers/b.ts'\n"],
      ['http/f.ts', "import { d } from '../jobs/queues.ts'\n"],
      ['sandbox/g.ts', "import { at } from '../core/a.ts'\nexport const g = at\n"],
      ['config.ts', 'export const env = process.env\n'],
      ['runtime.ts', "import { env } from './config.ts'\nimport './jobs/e.ts'\nimport './http/f.ts'\n"],
      ['cli/demo.ts', "import { g } from '../sandbox/g.ts'\nimport '../runtime.ts'\nconsole.log(g)\n"],
      ['cli.ts', "import './cli/demo.ts'\n"],
      ['client/index.ts', "export { at } from '../core/a.ts'\n"],
      ['transaction.ts', "import type { at } from './client/index.ts'\n"],
      ['index.ts', "export * from './client/index.ts'\n"],
    ])
    expect(rules.flatMap(([, rule]) => rule(right))).toEqual([])
  })
})
