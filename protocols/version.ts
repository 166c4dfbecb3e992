/** The version of this package; a test keeps it equal to package.json's. */
export const shoalVersion = '0.1.0'
