import { basename } from 'node:path'
import { createInterface } from 'node:readline'
import { cli } from './cli.ts'
import { READER_COMMAND, runReader } from './node/reader.ts'

const rollback = basename(process.argv[1] ?? '').startsWith('pvenat-rollback') ? ['rollback'] : []

// A reader may have seen enough, as `head` does. A terminal that is gone (EIO) ends nothing: a change may have to be taken back.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EIO') process.exit(error.code === 'EPIPE' ? 0 : 1)
})
process.stderr.on('error', () => undefined)

function listen(onLine: (line: string) => void): () => void {
  const lines = createInterface({ input: process.stdin, terminal: false }).on('line', onLine)
  process.stdin.on('error', () => undefined)
  return () => {
    lines.close()
    process.stdin.pause().unref()
  }
}

const [command, ...words] = process.argv.slice(2)

if (command === READER_COMMAND) void runReader(words)
else
  void cli([...rollback, ...process.argv.slice(2)], {
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    isTerminal: process.stderr.isTTY && process.stdout.isTTY,
    size: () => (process.stdout.isTTY ? process.stdout : undefined),
    ...(process.stdin.isTTY && process.stderr.isTTY ? { listen } : {}),
  }).then((code) => (process.exitCode = code))
