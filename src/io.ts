/** Between a command and the program's standard streams. */

export interface Io {
  stdout: (text: string) => void
  stderr: (text: string) => void
  /** Whether both are read by a person. */
  isTerminal: boolean
  /** The terminal that stdout is; undefined when it is none. */
  size?: () => { columns: number; rows: number } | undefined
  /** Hears the lines that a person types, until the returned function is called; undefined when nobody can type. */
  listen?: (onLine: (line: string) => void) => () => void
}

/** The command line makes no sense: exit code 2, one line. */
export class UsageError extends Error {}
