/** The sandbox provider in a process of its own, with a law given as JSON: `sandbox-process.js '{"law":{…}}'`. */
import { createSandbox, type SandboxOptions } from '../../src/sandbox/server.ts'

const options: SandboxOptions = JSON.parse(process.argv[2] ?? '{}')
const sandbox = await createSandbox(options)
console.log(`sandbox at ${sandbox.url} `)
process.once('SIGTERM', () => void sandbox.close())
