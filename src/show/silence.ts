/** A service that says nothing for so long is not there; it speaks every ten seconds. */
export const SILENT_MS = 30_000

export const NOT_RUNNING = 'the service does not run: systemctl start pvenat'
