import { basename } from 'node:path'
import { cli } from './cli.ts'

const rollback = basename(process.argv[1] ?? '').startsWith('pvenat-rollback') ? ['rollback'] : []

void cli([...rollback, ...process.argv.slice(2)], {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  isTerminal: process.stderr.isTTY && process.stdout.isTTY,
}).then((code) => (process.exitCode = code))
