/**
 * A process that uses the embedded Postgres: `fork` it with the compiled `embedded.js` and a DATA_DIR. It sends its URL,
 * or the error it met, and lets go of the server at the first message it gets.
 */
const [module, dataDir] = process.argv.slice(2)
const { openEmbedded } = await import(module)
try {
  const embedded = await openEmbedded(dataDir)
  process.send({ url: embedded.url })
  process.once('message', async () => {
    await embedded.close()
    process.disconnect()
  })
} catch (error) {
  process.send({ code: error.code, message: error.message }, () => process.disconnect())
}
