/**
 * Both packages as npm packs them, in apps that are strictly typed: compiled by the compiler of today and by the last one
 * written in JavaScript, and run against a service. Beside them an app whose client is made from the OpenAPI document.
 *
 * The apps in `consumer/` get the files of the tarballs; the packages that `lastword` depends on are linked, and no others.
 */
import { existsSync, readFileSync } from 'node:fs'
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createContext, runInContext } from 'node:vm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import packageJson from '../package.json' with { type: 'json' }
import type * as clientPackage from '../src/client/index.ts'
import clientJson from '../src/client/package.json' with { type: 'json' }
import { type Api, startApi } from './support/api.ts'
import { execute } from './support/programs.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const KEY = 'a-key'
const WITHIN_MS = 120_000
/** TypeScript before 7, as most apps have it, and with it the generator of clients. */
const consumer = createRequire(join(root, 'test/consumer/package.json'))

let api: Api
let folder = ''
let document: unknown
const modules = () => join(folder, 'node_modules')

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lastword-packages-'))
  api = await startApi({ API_KEYS: KEY })
  document = (await api.get('/openapi.json', { headers: { authorization: `Bearer ${KEY}` } })).body
  await cp(join(root, 'test/consumer'), folder, { recursive: true, filter: (path) => !path.includes('node_modules') })
  await install()
}, WITHIN_MS)
afterAll(async () => {
  await api.close()
  await rm(folder, { recursive: true, force: true })
})

async function install(): Promise<void> {
  const args = ['pack', '.', './src/client', '--ignore-scripts', '--pack-destination', folder]
  await execute('npm', args, { cwd: root })
  for (const { name, version } of [packageJson, clientJson]) {
    await mkdir(join(modules(), name), { recursive: true })
    const tarball = join(folder, `${name}-${version}.tgz`)
    await execute('tar', ['-xzf', tarball, '--strip-components=1', '-C', join(modules(), name)])
  }
  const program = join(modules(), 'lastword', packageJson.bin.lastword)
  await chmod(program, 0o755)
  await mkdir(join(modules(), '.bin'))
  await symlink(program, join(modules(), '.bin/lastword'))
  const { dependencies, optionalDependencies } = packageJson
  const programs = Object.keys(optionalDependencies).filter((name) => existsSync(join(root, 'node_modules', name)))
  for (const name of [...Object.keys(dependencies), ...programs, 'openapi-fetch', '@types/node']) {
    await mkdir(dirname(join(modules(), name)), { recursive: true })
    await symlink(join(root, 'node_modules', name), join(modules(), name))
  }
}

const compilers = {
  'TypeScript 7': join(root, 'node_modules/typescript/bin/tsc'),
  'TypeScript 5': consumer.resolve('typescript/bin/tsc'),
}

/** Has the generator write types from an OpenAPI document. Returns them. */
async function generate(document: unknown, file: string): Promise<string> {
  const from = join(folder, 'openapi.json')
  await writeFile(from, JSON.stringify(document))
  const generator = join(dirname(consumer.resolve('openapi-typescript/package.json')), 'bin/cli.js')
  await execute(process.execPath, [generator, from, '--output', join(folder, file)])
  return readFile(join(folder, file), 'utf8')
}

/** The schemas of these names, and those that they refer to. */
function pick(schemas: Readonly<Record<string, unknown>>, names: readonly string[]): Record<string, unknown> {
  const picked = new Set(names)
  for (const name of picked) {
    const references = JSON.stringify(schemas[name]).matchAll(/#\/components\/schemas\/(\w+)/g)
    for (const [, reference = ''] of references) picked.add(reference)
  }
  return Object.fromEntries(Object.entries(schemas).filter(([name]) => picked.has(name)))
}

/** Compiles, and returns what there is to complain about. */
async function compile(compiler: keyof typeof compilers, ...args: string[]): Promise<string> {
  const running = execute(process.execPath, [compilers[compiler], ...args], { cwd: folder })
  const { stdout } = await running.catch((failed: { stdout: string }) => failed)
  return stdout
}

/** Runs a compiled app, and returns the lines that it prints. */
async function run(file: string): Promise<string[]> {
  const env = {
    PATH: process.env.PATH,
    LASTWORD_URL: api.url,
    LASTWORD_API_KEY: KEY,
    DATABASE_URL: api.databaseUrl,
  }
  const { stdout, stderr } = await execute(process.execPath, [file], { cwd: folder, env, timeout: 30_000 })
  expect(stderr).toBe('')
  return stdout.trimEnd().split('\n')
}

describe('apps of the packages', { timeout: WITHIN_MS }, () => {
  it('compile and run', async () => {
    await generate(document, 'openapi.mts')

    expect(await compile('TypeScript 5')).toBe('')
    expect(await run('client.mjs')).toEqual([
      'tracked 1 0 1',
      'changed 77232007287 delivered 4711',
      'reports 1 DELIVERED webhook',
      'listed 77232007287',
      'failed INPUT_INVALID 400 false messages[0].messageId',
    ])
    expect(await run('client.cjs')).toEqual(['required delivered', 'failed NOT_FOUND'])
    expect(await run('both.mjs')).toEqual([
      'tracked 1',
      'client true,true,true,true',
      'required client true,true,true,true',
      'library true,true,true,true',
      'transaction true,true,true,true',
      'none false,false,false,false',
    ])
    expect(await run('generated.mjs')).toEqual([
      'tracked 202 1',
      'message 77232007289 null 0',
      'outstanding true',
      'problem 404 NOT_FOUND',
    ])
  })

  it.each([
    ['nodenext', '.', []],
    ['node16', 'client.mts client.cts', ['--module', 'node16', '--moduleResolution', 'node16']],
    ['bundler', 'client.mts', ['--module', 'preserve', '--moduleResolution', 'bundler']],
  ])('compile by TypeScript 7 under %s', async (_resolution, files, options) => {
    const strictly = ['--noEmit', '--strict', '--skipLibCheck', 'false', '--lib', 'es2022,dom', '--target', 'es2022']
    const args = files === '.' ? ['--noEmit'] : [...strictly, '--types', '', '--ignoreConfig', ...files.split(' ')]
    expect(await compile('TypeScript 7', ...args, ...options)).toBe('')
  })
})

describe('lastword-client', () => {
  it('is of the version of the service, depends on nothing, and brings nothing along but its licence and words', async () => {
    expect(clientJson.version).toBe(packageJson.version)
    expect(Object.keys(clientJson)).not.toContain('dependencies')
    const files = await readdir(join(modules(), 'lastword-client'))
    expect(files.sort()).toEqual(['LICENSE', 'README.md', 'dist', 'package.json'])
  })

  /** After a change of the API's schemas, `npx vitest run test/packages.test.ts -u` writes the client's types anew. */
  it('has its types from the OpenAPI document of the service', async () => {
    const words = new Set(['examples', 'format'])
    const client = join(root, 'src/client')
    const written = await Promise.all(['answers.ts', 'order.ts'].map((file) => readFile(join(client, file), 'utf8')))
    const names = [...written.join().matchAll(/Schemas\['(\w+)'\]/g)].map(([, name = '']) => name)
    const { components, ...rest } = document as { components: { schemas: Record<string, unknown> } }
    const schemas = pick(components.schemas, names)
    const bare = JSON.parse(
      JSON.stringify({ ...rest, components: { schemas }, paths: {}, webhooks: {} }),
      (key, value) => (words.has(key) ? undefined : value),
    )
    const [types] = /export interface components \{[\s\S]*?\n\}\n/.exec(await generate(bare, 'schemas.ts')) ?? []
    const head =
      '/** The shapes of the API, made from its OpenAPI document; test/packages.test.ts keeps them as they are there. */\n'
    await expect(`${head}${types}`).toMatchFileSnapshot(join(client, 'schemas.ts'))
  })

  it('runs where there is nothing but what the web has', async () => {
    const web = { fetch, URL, URLSearchParams, AbortController, DOMException, setTimeout, clearTimeout }
    const context = createContext(web)
    const loaded = new Map<string, object>()
    const load = (path: string): object => {
      const exports = loaded.get(path) ?? {}
      if (loaded.has(path)) return exports
      loaded.set(path, exports)
      const require = (specifier: string) => load(resolve(dirname(path), specifier))
      const code = readFileSync(path, 'utf8')
      runInContext(`(exports, require) => {${code}\n}`, context, { filename: path })(exports, require)
      return exports
    }
    const entry = createRequire(join(folder, 'client.cjs')).resolve('lastword-client')
    const { createClient, LastwordError } = load(entry) as typeof clientPackage
    const lastword = createClient({ url: api.url, apiKey: KEY })
    expect(await lastword.accounts()).toMatchObject([{ account: 'seven' }])
    await expect(lastword.get('seven', '404')).rejects.toBeInstanceOf(LastwordError)
    await expect(lastword.schedule('seven', { signal: AbortSignal.abort() })).rejects.toThrow('aborted')
    expect([...loaded.keys()].every((path) => path.startsWith(dirname(dirname(entry))))).toBe(true)
  })
})

it("the service's declarations need none but their own", async () => {
  const dist = join(modules(), 'lastword', 'dist')
  const seen = new Set<string>()
  const outside: string[] = []
  const visit = async (path: string): Promise<void> => {
    if (seen.has(path)) return
    seen.add(path)
    const text = await readFile(path.replace(/\.ts$/, '.d.ts'), 'utf8')
    for (const [, specifier = ''] of text.matchAll(/\b(?:from|import)\s*\(?\s*'([^']+)'/g)) {
      if (specifier.startsWith('.')) await visit(join(dirname(path), specifier))
      else outside.push(`${path}: ${specifier}`)
    }
  }
  await visit(join(dist, 'index.ts'))
  expect(seen.size).toBeGreaterThan(5)
  expect(outside).toEqual([])
})

it('npx runs the demo, and every message ends as it truly did', { timeout: 180_000 }, async () => {
  const empty = join(folder, 'empty')
  await mkdir(empty)
  const env = { PATH: process.env.PATH, HOME: process.env.HOME }
  const { stdout } = await execute('npx', ['--offline', 'lastword', 'demo'], { cwd: empty, env })
  expect(stdout).toMatch(/^360 messages are final: delivered \d+/m)
  expect(stdout).toMatch(/^Every one of them agrees with the sandbox's truth\.$/m)
  expect(await readdir(empty)).toEqual([])
})
