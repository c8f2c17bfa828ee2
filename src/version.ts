/** Put in by the build from package.json. */
declare const PVENAT_VERSION: string

export const VERSION = typeof PVENAT_VERSION === 'undefined' ? 'unbuilt' : PVENAT_VERSION
