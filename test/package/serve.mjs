// Serves a folder on the loopback: node serve.mjs FOLDER PORT. Says a line when it listens.
import { createReadStream, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { join, normalize } from 'node:path'

const [folder, port] = process.argv.slice(2)
const server = createServer(({ url }, response) => {
  const file = join(folder, normalize(decodeURIComponent(new URL(url, 'http://x').pathname)))
  const stats = statSync(file, { throwIfNoEntry: false })
  if (!stats?.isFile()) return response.writeHead(404).end()
  response.writeHead(200, { 'content-length': stats.size })
  return createReadStream(file).pipe(response)
})
server.listen(Number(port), '127.0.0.1', () => console.log('listening'))
