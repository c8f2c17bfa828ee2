import { basename } from 'node:path'
import { cli } from './cli.ts'

const rollback = basename(process.argv[1] ?? '').startsWith('pvenat-rollback') ? ['rollback'] : []

// Whoever reads may have seen enough, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

void cli([...rollback, ...process.argv.slice(2)], {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  isTerminal: process.stderr.isTTY && process.stdout.isTTY,
  size: () => (process.stdout.isTTY ? process.stdout : undefined),
}).then((code) => (process.exitCode = code))
