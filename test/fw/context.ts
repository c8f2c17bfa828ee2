/** The node that the recorded verdicts were made on. */
import { readFileSync } from 'node:fs'
import { parseProtocols, parseServices } from '../../src/fw/etc.ts'
import type { FwFile, ReadContext } from '../../src/fw/fw-file.ts'
import { readFw, type FileKind } from '../../src/fw/read.ts'

/** A file of fixtures/parser, one character per byte. */
export function fixture(name: string): string {
  return readFileSync(new URL(`../../fixtures/parser/${name}`, import.meta.url), 'latin1')
}

export const etc: ReadContext = {
  services: parseServices(fixture('services')),
  protocols: parseProtocols(fixture('protocols')),
}

export const withCluster: ReadContext = { ...etc, cluster: readFw(fixture('cluster.fw'), 'cluster', etc) }

export function contextOf(kind: FileKind): ReadContext {
  return kind === 'cluster' ? etc : withCluster
}

/** Reads a file given as lines. */
export function read(kind: FileKind, ...text: string[]): FwFile {
  return readFw(text.join('\n'), kind, contextOf(kind))
}
