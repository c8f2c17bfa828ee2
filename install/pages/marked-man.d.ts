declare module 'marked-man' {
  /** Options for `Marked` that render roff. */
  const options: Record<string, unknown>
  export = options
}
