/** Between a command and whoever gives it. */

export interface Io {
  stdout: (text: string) => void
  stderr: (text: string) => void
  /** Whether both are read by a person. */
  isTerminal: boolean
  /** The terminal that stdout is; undefined when it is none. */
  size?: () => { columns: number; rows: number } | undefined
}

/** The command line makes no sense: exit code 2, one line. */
export class UsageError extends Error {}
