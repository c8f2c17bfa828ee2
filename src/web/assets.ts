/** The page itself: put in by the build, so that nothing is read or made at run time. */
declare const PVENAT_PAGE: { html: string; script: string; style: string; icon: string }

/** Empty in tests that run without a build. */
export const PAGE =
  typeof PVENAT_PAGE === 'undefined' ? { html: '', script: '', style: '', icon: '' } : PVENAT_PAGE
